//! Stretches of time as users write them: `1y5m7d2h`.

use std::fmt;

use jiff::tz::TimeZone;

use crate::name::Timestamp;

/// More years than this no calendar holds.
const MAX_NUMBER: u16 = 9999;

/// Years, months, days and hours. Months and years are the calendar's where a date is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    /// Years.
    pub years: u16,
    /// Months.
    pub months: u16,
    /// Days.
    pub days: u16,
    /// Hours.
    pub hours: u16,
}

/// Why a text is no period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a period is written as 1y5m7d2h: years, months, days, hours, each at most once and at most 9999")]
pub struct PeriodError;

impl Period {
    /// The moment that lies this long before `time`; at the calendar's ends the ends themselves.
    pub fn before(&self, time: Timestamp, zone: &TimeZone) -> Timestamp {
        let back = || {
            let span = jiff::Span::new()
                .try_years(self.years)
                .and_then(|span| span.try_months(self.months))
                .and_then(|span| span.try_days(self.days))
                .and_then(|span| span.try_hours(self.hours))?;
            let zoned = jiff::Timestamp::from_second(time.0)?.to_zoned_datetime(zone.clone());
            zoned.checked_sub(span)
        };
        back().map_or(Timestamp(i64::MIN), |zoned| {
            Timestamp(zoned.timestamp().as_second())
        })
    }

    /// Its length with months of 30 and years of 365 days.
    pub fn seconds(&self) -> i64 {
        let days = i64::from(self.years) * 365 + i64::from(self.months) * 30 + i64::from(self.days);
        days * 86_400 + i64::from(self.hours) * 3600
    }
}

impl std::str::FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let mut fields = [0; 4];
        let mut units = "ymdh".chars().enumerate();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(PeriodError);
        }
        while let Some(end) = rest.find(|character: char| !character.is_ascii_digit()) {
            let number: u16 = rest[..end].parse().map_err(|_| PeriodError)?;
            let unit = rest[end..].chars().next().ok_or(PeriodError)?;
            // The units go on from where the last one stood, so each comes once and in order.
            let (field, _) = units.find(|(_, letter)| *letter == unit).ok_or(PeriodError)?;
            if number > MAX_NUMBER {
                return Err(PeriodError);
            }
            fields[field] = number;
            rest = &rest[end + 1..];
        }
        let [years, months, days, hours] = fields;
        let period = Self {
            years,
            months,
            days,
            hours,
        };
        if rest.is_empty() {
            Ok(period)
        } else {
            Err(PeriodError)
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd')];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        if self.hours > 0 || parts.iter().all(|(number, _)| *number == 0) {
            write!(f, "{}h", self.hours)?;
        }
        Ok(())
    }
}
