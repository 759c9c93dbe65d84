//! This file answers: which files does a run leave, and what stands in them?

use std::fs::{File, create_dir_all, remove_file, write};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use crate::mix::Operation;
use crate::summary::Latencies;

/// Rows of `<op>_single.csv` at most.
pub(crate) const SINGLE_ROWS: u64 = 1_000_000;
/// Points of a percentile curve on each halving of what is left to 100.
const POINTS_PER_HALVING: u32 = 10;

pub(crate) const SUMMARY: &str = "summary.json";
pub(crate) const EVENTS: &str = "events.csv";

/// Makes the folder, and removes what an earlier run left there under the names of ours.
pub(crate) fn prepare(folder: &Path) -> io::Result<()> {
    create_dir_all(folder).map_err(|error| named(folder, &error))?;
    let of_operations = Operation::ALL.into_iter().flat_map(|operation| {
        let [single, latencies, curve] = names(operation);
        [single, latencies, curve]
    });
    for name in of_operations.chain([SUMMARY.to_owned(), EVENTS.to_owned()]) {
        let path = folder.join(name);
        match remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(named(&path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes a whole file of the folder.
pub(crate) fn put(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    write(&path, content).map_err(|error| named(&path, &error))
}

/// An error that says where.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn names(operation: Operation) -> [String; 3] {
    [
        format!("{operation}_single.csv"),
        format!("{operation}_latencies.csv"),
        format!("{operation}.hgrm.csv"),
    ]
}

/// The files of one operation.
#[derive(Debug)]
pub(crate) struct OperationFiles {
    single: Lines,
    rows: u64,
    latencies: Lines,
    curve: PathBuf,
}

impl OperationFiles {
    pub(crate) fn create(folder: &Path, operation: Operation) -> io::Result<OperationFiles> {
        let [single, latencies, curve] = names(operation);
        let mut files = OperationFiles {
            single: Lines::create(folder.join(single))?,
            rows: 0,
            latencies: Lines::create(folder.join(latencies))?,
            curve: folder.join(curve),
        };
        files.single.line("timestamp,unit,microseconds")?;
        let header = "elapsed,window,n,min,mean,median,95th,99th,99_9th,max,errors";
        files.latencies.line(header)?;
        Ok(files)
    }

    /// One operation that ended at this Unix time, if there is room for more.
    pub(crate) fn single(&mut self, unix_micros: u64, latency_micros: u64) -> io::Result<()> {
        if self.rows == SINGLE_ROWS {
            return Ok(());
        }
        self.rows += 1;
        let (mut when, mut latency) = (itoa::Buffer::new(), itoa::Buffer::new());
        self.single.parts(&[
            when.format(unix_micros),
            ",microsecond,",
            latency.format(latency_micros),
            "\n",
        ])
    }

    /// One second: `elapsed` to its end, `window` its length.
    pub(crate) fn window(
        &mut self,
        elapsed: f64,
        window: f64,
        latencies: &Histogram<u64>,
        errors: u64,
    ) -> io::Result<()> {
        let figures = Latencies::of(latencies);
        let columns = figures.columns().map(|micros| format!("{micros:.1}"));
        let n = latencies.len();
        let columns = columns.join(",");
        self.latencies
            .line(&format!("{elapsed:.3},{window:.3},{n},{columns},{errors}"))?;
        self.latencies.flush()
    }

    /// The whole run's percentile curve; and nothing stays in this process.
    pub(crate) fn close(mut self, latencies: &Histogram<u64>) -> io::Result<()> {
        let mut curve = Lines::create(self.curve.clone())?;
        curve.line("percentile,microseconds")?;
        for point in latencies.iter_quantiles(POINTS_PER_HALVING) {
            let percentile = point.quantile_iterated_to() * 100.0;
            let micros = point.value_iterated_to() as f64 / 1000.0;
            curve.line(&format!("{percentile:.6},{micros:.1}"))?;
        }
        curve.flush()?;
        self.single.flush()?;
        self.latencies.flush()
    }
}

/// A text file that is written from its beginning; its errors say which file.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Lines {
    fn create(path: PathBuf) -> io::Result<Lines> {
        let file = File::create(&path).map_err(|error| named(&path, &error))?;
        let file = BufWriter::with_capacity(64 << 10, file);
        Ok(Lines { path, file })
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        self.parts(&[text, "\n"])
    }

    fn parts(&mut self, parts: &[&str]) -> io::Result<()> {
        let mut written = parts
            .iter()
            .map(|part| self.file.write_all(part.as_bytes()));
        let written = written.try_for_each(|part| part);
        written.map_err(|error| named(&self.path, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| named(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::read_to_string;

    use super::*;

    /// Lost without it: a run's folder keeps another run's operations, or loses what is not ours.
    #[test]
    fn only_our_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("deep/results");
        prepare(&folder).unwrap();
        for name in ["read_single.csv", "summary.json", "notes.csv"] {
            put(&folder, name, b"x").unwrap();
        }
        prepare(&folder).unwrap();
        assert!(!folder.join("read_single.csv").exists());
        assert!(!folder.join("summary.json").exists());
        assert_eq!(read_to_string(folder.join("notes.csv")).unwrap(), "x");
        put(&folder, "file", b"").unwrap();
        let error = prepare(&folder.join("file")).unwrap_err().to_string();
        assert!(error.contains("results/file"), "{error}");
    }

    /// Lost without it: the files are not what scripts read, or grow with the run.
    #[test]
    fn files_have_their_columns() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = OperationFiles::create(folder.path(), Operation::Put).unwrap();
        let mut latencies = Histogram::new(3).unwrap();
        for micros in 1..=1000 {
            latencies.record(micros * 1000).unwrap();
        }
        files.single(1_700_000_000_000_001, 42).unwrap();
        files.rows = SINGLE_ROWS;
        files.single(1_700_000_000_000_002, 43).unwrap();
        files.window(1.0, 1.0, &latencies, 3).unwrap();
        files
            .window(1.5, 0.5, &Histogram::new(3).unwrap(), 0)
            .unwrap();
        files.close(&latencies).unwrap();
        let read = |name: &str| read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(
            read("put_single.csv"),
            "timestamp,unit,microseconds\n1700000000000001,microsecond,42\n"
        );
        let windows = read("put_latencies.csv");
        let windows: Vec<&str> = windows.lines().collect();
        assert_eq!(
            windows[0],
            "elapsed,window,n,min,mean,median,95th,99th,99_9th,max,errors"
        );
        assert!(
            windows[1].starts_with("1.000,1.000,1000,1.0,500."),
            "{}",
            windows[1]
        );
        assert!(windows[1].ends_with(",3"), "{}", windows[1]);
        assert_eq!(windows[2], "1.500,0.500,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0");
        let curve = read("put.hgrm.csv");
        assert!(curve.starts_with("percentile,microseconds\n"));
        let last = curve.lines().last().unwrap();
        assert!(last.starts_with("100.000000,1000."), "{last}");
        assert!(curve.lines().count() > 20);
    }
}
