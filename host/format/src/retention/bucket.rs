//! Stretches of the calendar of which one backup each is kept.

use jiff::tz::TimeZone;

use crate::name::Timestamp;

/// A kind of stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// A clock hour.
    Hourly,
    /// A day from midnight to midnight.
    Daily,
    /// An ISO week, from Monday.
    Weekly,
    /// A month.
    Monthly,
    /// A year.
    Yearly,
}

impl Bucket {
    /// All kinds, the shortest first.
    pub const ALL: [Self; 5] = [
        Self::Hourly,
        Self::Daily,
        Self::Weekly,
        Self::Monthly,
        Self::Yearly,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }

    /// The stretch that holds a time, named so that each has a name of its own: `2026-11-24`, `2026-W48`.
    pub fn label(self, time: Timestamp, zone: &TimeZone) -> String {
        let Ok(instant) = jiff::Timestamp::from_second(time.0) else {
            // Outside the calendar each second is a stretch of its own, so nothing there hides anything.
            return time.to_string();
        };
        let zoned = instant.to_zoned_datetime(zone.clone());
        match self {
            // The offset tells the hour that comes twice when clocks are set back.
            Self::Hourly => zoned.strftime("%Y-%m-%d %H:00%:z").to_string(),
            Self::Daily => zoned.strftime("%Y-%m-%d").to_string(),
            Self::Weekly => zoned.strftime("%G-W%V").to_string(),
            Self::Monthly => zoned.strftime("%Y-%m").to_string(),
            Self::Yearly => zoned.strftime("%Y").to_string(),
        }
    }
}
