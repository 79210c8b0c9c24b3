//! Seconds since 1970 as RFC 3339 in UTC, and back.

const DAY: u64 = 86_400;
/// 719,468 days lie between 0000-03-01 and 1970-01-01.
const DAYS_BEFORE: u64 = 719_468;
/// The last second of the year 9999: later ones have no such text.
const LAST: u64 = 253_402_300_799;

pub(super) fn print(seconds: u64) -> String {
    let seconds = seconds.min(LAST);
    let (days, second) = (seconds / DAY, seconds % DAY);
    // The calendar repeats every 400 years = 146,097 days; counted from March, the leap day is the last of its year.
    let days = days + DAYS_BEFORE;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Only what [`print`] prints.
pub(super) fn parse(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(DAYS_BEFORE)?;
    let seconds = days * DAY + hour * 3600 + minute * 60 + second;
    // Its own print decides about separators, signs and days that no month has.
    (print(seconds) == text).then_some(seconds)
}
