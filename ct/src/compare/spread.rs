//! This file answers: what do several rounds say together?

use serde::Serialize;

/// The middle of some figures, and how far apart they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// As many lie below as above.
    pub median: f64,
    /// The least.
    pub lowest: f64,
    /// The most.
    pub highest: f64,
}

/// Of figures that are numbers; none of no figures.
pub fn spread(figures: &[f64]) -> Option<Spread> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    };
    Some(Spread {
        median,
        lowest,
        highest,
    })
}

/// The value that `share` (0 to 1) of the figures do not exceed.
pub fn quantile(figures: &mut [f64], share: f64) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let at = (share * figures.len() as f64).ceil() as usize;
    figures.get(at.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        // Without this the ratio that is told is one round's, and a lucky one at that.
        let five = spread(&[1.4, 0.9, 1.1, 7.0, 1.0]).expect("there are figures");
        assert_eq!((five.lowest, five.median, five.highest), (0.9, 1.1, 7.0));
        let two = spread(&[3.0, 1.0]).expect("there are figures");
        assert_eq!((two.lowest, two.median, two.highest), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn quantiles_are_of_values_that_were_there() {
        // Without this the p99 of a hundred reads is their maximum, or one that nobody saw.
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&mut hundred, 1.0), Some(100.0));
        assert_eq!(quantile(&mut hundred, 0.0), Some(1.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
