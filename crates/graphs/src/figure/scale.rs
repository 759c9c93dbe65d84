//! This file answers: where on an axis is a value, and which values get a tick?

/// From values to places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Equal steps are equally long.
    Linear(Range, Unit),
    /// Equal ratios are equally long.
    Log(Range, Unit),
    /// Percentiles, each further nine as long as the one before. Ends at the share of one in 10 to the power given.
    Nines(f64),
}

/// From the least to the most that is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct Range {
    pub least: f64,
    pub most: f64,
}

/// How a tick's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number; thousands as k, millions as M.
    Count,
    /// Microseconds, written as µs, ms or s.
    Microseconds,
}

/// A value with a line of the grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Its place, 0 to 1.
    pub place: f64,
    /// Its text; none for lines in between.
    pub label: Option<String>,
}

/// About so many ticks have a label on a linear axis.
const TICKS: f64 = 8.0;
/// On a logarithmic axis of at most so many decades, 2 and 5 have labels too.
const DECADES_WITH_STEPS: f64 = 2.6;

impl Scale {
    /// From 0 to a round number not below `most`.
    pub fn from_zero(most: f64, unit: Unit) -> Scale {
        let step = step(most.max(f64::MIN_POSITIVE), TICKS);
        let range = Range {
            least: 0.0,
            most: (most / step).ceil().max(1.0) * step,
        };
        Scale::Linear(range, unit)
    }

    /// Exactly from 0 to `most`.
    pub fn up_to(most: f64, unit: Unit) -> Scale {
        let most = most.max(f64::MIN_POSITIVE);
        Scale::Linear(Range { least: 0.0, most }, unit)
    }

    /// Around `values` (those above 0), out to the next round numbers.
    pub fn log_around(values: impl Iterator<Item = f64>, unit: Unit) -> Scale {
        let values = values.filter(|value| value.is_finite() && *value > 0.0);
        let start = (f64::INFINITY, 0.0);
        let (least, most) = values.fold(start, |(least, most), value| {
            (f64::min(least, value), f64::max(most, value))
        });
        let (least, most) = match most > 0.0 {
            true => (round_down(least), round_up(most)),
            false => (1.0, 10.0),
        };
        let most = if most <= least { least * 10.0 } else { most };
        Scale::Log(Range { least, most }, unit)
    }

    /// Percentiles up to the last below 100 in `percentiles`.
    pub fn nines(percentiles: impl Iterator<Item = f64>) -> Scale {
        let below = percentiles.filter(|percentile| *percentile < 100.0);
        let most = below.map(nines_of).fold(2.0, f64::max);
        // the maximum stands a little to the right of the last percentile
        Scale::Nines(most.min(9.0) + 0.35)
    }

    /// The place of a value: 0 at the beginning of the axis, 1 at its end; what lies outside is at the nearer end.
    pub fn place(&self, value: f64) -> f64 {
        let place = match *self {
            Scale::Linear(Range { least, most }, _) => (value - least) / (most - least),
            Scale::Log(Range { least, most }, _) => {
                (value.max(least) / least).log10() / (most / least).log10()
            }
            Scale::Nines(most) => nines_of(value) / most,
        };
        place.clamp(0.0, 1.0)
    }

    /// Whether a value lies on the axis.
    pub fn shows(&self, value: f64) -> bool {
        match *self {
            Scale::Linear(Range { least, most }, _) | Scale::Log(Range { least, most }, _) => {
                (least..=most).contains(&value)
            }
            Scale::Nines(_) => (0.0..=100.0).contains(&value),
        }
    }

    /// Its ticks.
    pub fn ticks(&self) -> Vec<Tick> {
        let tick = |value: f64, label: Option<String>| Tick {
            place: self.place(value),
            label,
        };
        match *self {
            Scale::Linear(Range { least, most }, unit) => {
                let step = step(most - least, TICKS);
                let first = (least / step).ceil() as i64;
                let last = (most / step * (1.0 + 1e-9)).floor() as i64;
                let values = (first..=last).map(|at| at as f64 * step);
                values
                    .map(|value| tick(value, Some(unit.text(value))))
                    .collect()
            }
            Scale::Log(Range { least, most }, unit) => {
                let with_steps = (most / least).log10() <= DECADES_WITH_STEPS;
                log_values(least, most)
                    .map(|(value, digit)| {
                        let has_label = digit == 1 || with_steps && (digit == 2 || digit == 5);
                        tick(value, has_label.then(|| unit.text(value)))
                    })
                    .collect()
            }
            Scale::Nines(most) => nines_ticks(most)
                .into_iter()
                .map(|(value, label)| tick(value, Some(label)))
                .collect(),
        }
    }
}

impl Unit {
    /// A value as a tick says it.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Count if value >= 1e6 => format!("{}M", short(value / 1e6)),
            Unit::Count if value >= 1e3 => format!("{}k", short(value / 1e3)),
            Unit::Count => short(value),
            Unit::Microseconds if value >= 1e6 => format!("{} s", short(value / 1e6)),
            Unit::Microseconds if value >= 1e3 => format!("{} ms", short(value / 1e3)),
            Unit::Microseconds => format!("{} µs", short(value)),
        }
    }
}

/// Three digits at most behind the point, and no zeros at the end.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A round step (1, 2 or 5) that goes about `ticks` times into `span`.
fn step(span: f64, ticks: f64) -> f64 {
    let raw = span / ticks;
    let decade = 10_f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps.into_iter().find(|step| step * decade >= raw);
    fits.unwrap_or(10.0) * decade
}

fn round_down(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * decade);
    let below = steps.into_iter().find(|step| *step <= value * (1.0 + 1e-9));
    below.unwrap_or(decade)
}

fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    let above = steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9));
    above.unwrap_or(decade * 10.0)
}

/// The multiples of each power of ten within a range, with their digit.
fn log_values(least: f64, most: f64) -> impl Iterator<Item = (f64, i32)> {
    let first = least.log10().floor() as i32;
    let last = most.log10().ceil() as i32;
    let all = (first..=last)
        .flat_map(|power| (1..10).map(move |digit| (f64::from(digit) * 10_f64.powi(power), digit)));
    all.filter(move |(value, _)| *value >= least * (1.0 - 1e-9) && *value <= most * (1.0 + 1e-9))
}

/// 90 is 1, 99 is 2, 99.9 is 3; 100 is beyond every end.
fn nines_of(percentile: f64) -> f64 {
    (100.0 / (100.0 - percentile).max(f64::MIN_POSITIVE)).log10()
}

fn nines_ticks(most: f64) -> Vec<(f64, String)> {
    let mut ticks = vec![(0.0, "0 %".to_owned()), (50.0, "50 %".to_owned())];
    let mut nines = 1;
    // what would stand on the maximum's label is left out
    while f64::from(nines) <= most - 0.3 {
        let percentile = 100.0 - 10_f64.powi(2 - nines);
        let digits = usize::try_from(nines - 2).unwrap_or(0);
        ticks.push((percentile, format!("{percentile:.digits$} %")));
        nines += 1;
    }
    ticks.push((100.0, "max".to_owned()));
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale) -> Vec<String> {
        scale
            .ticks()
            .into_iter()
            .filter_map(|tick| tick.label)
            .collect()
    }

    #[test]
    fn ticks_are_round_and_have_units() {
        // Without this an axis reads 0, 7143, 14286 of one knows not what.
        assert_eq!(
            labels(Scale::from_zero(18_500.0, Unit::Count)),
            ["0", "5k", "10k", "15k", "20k"]
        );
        let wide = Scale::log_around([130.0, 42_000.0].into_iter(), Unit::Microseconds);
        assert_eq!(labels(wide), ["100 µs", "1 ms", "10 ms"]);
        let narrow = Scale::log_around([130.0, 1_800.0].into_iter(), Unit::Microseconds);
        assert_eq!(
            labels(narrow),
            ["100 µs", "200 µs", "500 µs", "1 ms", "2 ms"]
        );
        let huge = Scale::log_around([3.0, 2e6].into_iter(), Unit::Microseconds);
        assert_eq!(
            labels(huge),
            ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]
        );
    }

    #[test]
    fn each_nine_is_as_long_as_the_one_before() {
        // Without this the tail, which the curve is drawn for, is squeezed into the last pixel.
        let scale = Scale::nines([50.0, 99.0, 99.99, 100.0].into_iter());
        let places = [90.0, 99.0, 99.9, 99.99].map(|value| scale.place(value));
        let steps: Vec<f64> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            steps.iter().all(|step| (step - places[0]).abs() < 1e-9),
            "{places:?}"
        );
        assert_eq!(scale.place(100.0), 1.0);
        assert!(scale.place(99.99) < 1.0);
        let expected = ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"];
        assert_eq!(labels(scale), expected);
    }

    #[test]
    fn ranges_of_nothing_and_of_one_value_are_ranges() {
        // Without this a run with one operation divides by zero and draws outside of the figure.
        for scale in [
            Scale::log_around(std::iter::empty(), Unit::Microseconds),
            Scale::log_around([100.0].into_iter(), Unit::Microseconds),
            Scale::log_around([0.0, 0.0].into_iter(), Unit::Microseconds),
            Scale::from_zero(0.0, Unit::Count),
            Scale::nines(std::iter::empty()),
        ] {
            for value in [0.0, 1.0, 100.0, 1e12] {
                let place = scale.place(value);
                assert!((0.0..=1.0).contains(&place), "{scale:?} {value} {place}");
            }
            assert!(scale.ticks().len() < 50, "{scale:?}");
        }
    }
}
