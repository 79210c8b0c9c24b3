//! Sizes, counts and times of calls.

/// The version of the messages in this module.
pub(super) const VERSION: u8 = 1;

/// Bytes of a service's name, at most; at least one.
pub const SERVICE_NAME_BYTES_MAX: usize = 128;
/// Bytes of a request's body, whatever the settings say.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Bytes of one piece of an answer, whatever the settings say.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Bytes of the largest frame.
pub const FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + 64;
/// How long an announcement holds, at most: seven days.
pub const ANNOUNCEMENT_MS_MAX: u64 = 7 * 24 * 3600 * 1000;
/// How long a session takes calls, at most: one day.
pub const SESSION_MS_MAX: u32 = 24 * 3600 * 1000;
/// How long a call may take, at most: one day.
pub const DEADLINE_MS_MAX: u32 = 24 * 3600 * 1000;
/// How far the clocks of caller and service may be apart: two minutes. Beyond it no session opens.
pub const SKEW_MS_MAX: u64 = 120_000;
/// By how much later than its caller's clock says a request may arrive, in addition to what the opening was late: two seconds. What a forwarder held back
/// for longer counts against the deadline.
pub const LATE_MS_MAX: u64 = 2000;
/// Calls of one session.
pub const SESSION_CALLS_MAX: u64 = 1 << 32;
/// Bytes that a session seals in one direction before a caller opens another one. At 2^32 blocks under a key an attacker's advantage is still below 2^-64.
pub const SESSION_BYTES_MAX: u64 = 1 << 36;
/// How far behind the newest a call number may arrive.
pub const CALL_WINDOW: u64 = 1024;
/// Chunks of an answer that a service may send before the caller has asked for more.
pub const CREDIT_CHUNKS: u32 = 8;

/// What one side allows. The other side's limits show as refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallLimits {
    /// Bytes of a request's body.
    pub request_bytes_max: usize,
    /// Bytes of a collected answer.
    pub answer_bytes_max: usize,
    /// How long an announcement holds; it is renewed at half of it.
    pub announcement_ms: u64,
    /// How long a session takes calls.
    pub session_ms: u32,
    /// Calls of a session that are open at one time.
    pub session_open_calls_max: usize,
    /// Sessions that a service keeps; the least recently used without open calls gives way.
    pub sessions_max: usize,
    /// Sessions that a service keeps for one caller.
    pub caller_sessions_max: usize,
    /// Openings that a service remembers so that none is taken twice.
    pub openings_max: usize,
    /// Handlers of a service that run at one time.
    pub handlers_max: usize,
    /// Requests that wait for a handler.
    pub waiting_max: usize,
    /// Bytes of requests that wait for a handler or are handled.
    pub waiting_bytes_max: usize,
    /// Servers that a caller tries before it gives a call up as unavailable.
    pub attempts_max: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            request_bytes_max: 1 << 20,
            answer_bytes_max: 16 << 20,
            announcement_ms: 24 * 3600 * 1000,
            session_ms: 3600 * 1000,
            session_open_calls_max: 1024,
            sessions_max: 4096,
            caller_sessions_max: 64,
            openings_max: 65_536,
            handlers_max: 256,
            waiting_max: 4096,
            waiting_bytes_max: 64 << 20,
            attempts_max: 4,
        }
    }
}

/// Two clocks at one moment. They differ in what they are good for, so both are arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970 as others count them; may jump.
    pub wall_ms: u64,
    /// Milliseconds since any moment of this process; only goes forward.
    pub ticks_ms: u64,
}

/// Whether a service may have this name.
pub(super) fn is_service_name(name: &str) -> bool {
    (1..=SERVICE_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}
