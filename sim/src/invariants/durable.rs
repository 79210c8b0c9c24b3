//! A commit that was acknowledged is there.

use super::{Eyes, Miss, Sight, miss};

pub(super) fn check(sight: &Sight<'_>) -> Result<(), Miss> {
    let (position, acknowledged) = (sight.position(), sight.known.acknowledged);
    let may_be_shorter = matches!(
        sight.eyes,
        Eyes::AfterDamage { is_cut: true } | Eyes::Reader { is_late: true }
    );
    if position < acknowledged && !may_be_shorter {
        return miss(format!(
            "ends at {position}, but {acknowledged} is acknowledged"
        ));
    }
    Ok(())
}
