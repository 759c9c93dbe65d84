//! This file answers: how are a million operations shown on a few thousand dots?
//!
//! The plane is cut into cells about as large as a dot, and each cell that is not empty keeps one operation of its own and how
//! many it stands for. In every column the quickest and the slowest stay as they are: an outlier is what one looks for.

/// How fine.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Columns over all of the time.
    pub columns: usize,
    /// Rows over all of the latencies, which are laid out logarithmically.
    pub rows: usize,
}

/// An operation that stands for those around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dot {
    /// Its time.
    pub x: f64,
    /// Its latency, more than 0.
    pub y: f64,
    /// Operations of its cell.
    pub count: u32,
}

#[derive(Clone, Copy)]
struct Cell {
    lowest: (f64, f64),
    highest: (f64, f64),
    count: u32,
}

/// Thins `points` (time, latency). At most one dot a cell, and one more a column.
pub fn thin(points: &[(f64, f64)], grid: Grid) -> Vec<Dot> {
    let Some(place) = Place::of(points, grid) else {
        return Vec::new();
    };
    let mut cells: Vec<Option<Cell>> = vec![None; grid.columns * grid.rows];
    for point in points {
        let cell = &mut cells[place.cell(*point)];
        let first = Cell {
            lowest: *point,
            highest: *point,
            count: 0,
        };
        let cell = cell.get_or_insert(first);
        cell.count += 1;
        if point.1 < cell.lowest.1 {
            cell.lowest = *point;
        }
        if point.1 > cell.highest.1 {
            cell.highest = *point;
        }
    }
    let mut dots = Vec::new();
    for column in cells.chunks(grid.rows) {
        let cells: Vec<Cell> = column.iter().copied().flatten().collect();
        for (at, cell) in cells.iter().enumerate() {
            let dot = |(x, y)| Dot {
                x,
                y,
                count: cell.count,
            };
            let (is_first, is_last) = (at == 0, at + 1 == cells.len());
            if is_first || !is_last {
                dots.push(dot(cell.lowest));
            }
            if is_last && (!is_first || cell.lowest != cell.highest) {
                dots.push(dot(cell.highest));
            }
        }
    }
    dots
}

/// Which cell a point is in.
struct Place {
    grid: Grid,
    x: (f64, f64),
    y: (f64, f64),
}

impl Place {
    fn of(points: &[(f64, f64)], grid: Grid) -> Option<Place> {
        let x = range(points.iter().map(|point| point.0))?;
        let y = range(points.iter().map(|point| point.1.log10()))?;
        Some(Place { grid, x, y })
    }

    fn cell(&self, (x, y): (f64, f64)) -> usize {
        let column = share(x, self.x, self.grid.columns);
        let row = share(y.log10(), self.y, self.grid.rows);
        column * self.grid.rows + row
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((least, most)) => Some((least.min(value), most.max(value))),
    })
}

fn share(value: f64, (least, most): (f64, f64), parts: usize) -> usize {
    let share = (value - least) / (most - least).max(f64::MIN_POSITIVE);
    // a cast of a float saturates: 0 for what is below
    ((share * parts as f64) as usize).min(parts - 1)
}

/// The value below which `share` (0 to 1) of the sorted values are.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (share * sorted.len() as f64) as usize;
    sorted.get(at.min(last)).copied()
}

/// Of each of `parts` equal stretches of time that is not empty: its middle, and the quantile of its latencies.
pub fn over_time(points: &[(f64, f64)], parts: usize, quantiles: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let mut lines = vec![Vec::new(); quantiles.len()];
    let Some(span) = range(points.iter().map(|point| point.0)) else {
        return lines;
    };
    let mut stretches = vec![Vec::new(); parts];
    for (x, y) in points {
        stretches[share(*x, span, parts)].push(*y);
    }
    let step = (span.1 - span.0) / parts as f64;
    for (at, stretch) in stretches.iter_mut().enumerate() {
        stretch.sort_by(f64::total_cmp);
        let middle = span.0 + (at as f64 + 0.5) * step;
        for (line, wanted) in lines.iter_mut().zip(quantiles) {
            line.extend(quantile(stretch, *wanted).map(|value| (middle, value)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        columns: 500,
        rows: 120,
    };

    fn million() -> Vec<(f64, f64)> {
        let mut state = 1_u64;
        let mut points = Vec::new();
        for at in 0..1_000_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let latency = 50.0 + (state >> 40) as f64 / 1e5;
            points.push((f64::from(at) / 1e4, latency));
        }
        points[123_456].1 = 1.5;
        points[654_321].1 = 98_765.0;
        points
    }

    #[test]
    fn the_extremes_of_every_column_stay() {
        // Without this the one slow operation of a million, the one that matters, may be thinned away.
        let points = million();
        let dots = thin(&points, GRID);
        assert!(dots.len() <= 30_000, "{} dots are not thin", dots.len());
        for extreme in [123_456, 654_321] {
            let (x, y) = points[extreme];
            assert!(dots.iter().any(|dot| (dot.x, dot.y) == (x, y)), "{x} {y}");
        }
        let place = Place::of(&points, GRID).expect("there are points");
        let column = |x| share(x, place.x, GRID.columns);
        let mut kept = vec![(f64::MAX, f64::MIN); GRID.columns];
        let widen = |range: &mut (f64, f64), y: f64| *range = (range.0.min(y), range.1.max(y));
        dots.iter()
            .for_each(|dot| widen(&mut kept[column(dot.x)], dot.y));
        let mut all = vec![(f64::MAX, f64::MIN); GRID.columns];
        points
            .iter()
            .for_each(|(x, y)| widen(&mut all[column(*x)], *y));
        assert_eq!(kept, all);
    }

    #[test]
    fn every_operation_is_counted() {
        // Without this the shade of a dot says something else than how many it stands for.
        let points: Vec<(f64, f64)> = (0..1000).map(|_| (1.0, 7.0)).collect();
        let dots = thin(&points, GRID);
        let one = Dot {
            x: 1.0,
            y: 7.0,
            count: 1000,
        };
        assert_eq!(dots, [one]);
        assert!(thin(&[], GRID).is_empty());
    }

    #[test]
    fn quantiles_of_each_stretch() {
        // Without this the line through the dots is not their median.
        let points: Vec<(f64, f64)> = (0..100)
            .map(|at| (f64::from(at), f64::from(at % 50)))
            .collect();
        let lines = over_time(&points, 2, &[0.5, 0.99]);
        assert_eq!(lines[0], [(24.75, 25.0), (74.25, 25.0)]);
        assert_eq!(lines[1], [(24.75, 49.0), (74.25, 49.0)]);
        assert_eq!(over_time(&[], 2, &[0.5]), [Vec::new()]);
    }
}
