//! What comes of a folder of results: which files, of which size, with which words.

mod sample;

use std::fs;
use std::path::Path;

use rkv_graphs::{Error, draw};

#[test]
fn a_run_with_events_becomes_every_figure() {
    // Without this a bench's results are numbers in files that nobody looks at.
    let folder = tempfile::tempdir().expect("a folder");
    sample::Run::default().write(folder.path());
    let out = folder.path().join("figures");
    let mut written: Vec<String> = draw(folder.path(), &out)
        .expect("it draws")
        .iter()
        .map(|path| name(path))
        .collect();
    written.sort();
    let mut expected = Vec::new();
    for operation in ["get", "put"] {
        for figure in [
            format!("latency_{operation}"),
            format!("latency_{operation}_single"),
            format!("percentiles_{operation}"),
            format!("throughput_{operation}_single"),
        ] {
            expected.extend([format!("{figure}.png"), format!("{figure}.svg")]);
        }
    }
    expected.sort();
    assert_eq!(written, expected);
    for file in &written {
        looks_right(&out.join(file));
    }
    for figure in ["latency_put", "latency_put_single", "throughput_put_single"] {
        let svg = fs::read_to_string(out.join(format!("{figure}.svg"))).expect("it is text");
        for word in [
            "node2 killed",
            "node2 back, its hints drain",
            "target rkv 0.1.0",
        ] {
            assert!(svg.contains(word), "{figure} does not say {word:?}");
        }
    }
    let svg = fs::read_to_string(out.join("percentiles_put.svg")).expect("it is text");
    assert!(
        svg.contains("99.99 %") && svg.contains("max"),
        "the nines are named"
    );
}

#[test]
fn runs_at_rates_become_one_figure() {
    // Without this nobody sees where latency leaves the ground.
    let folder = tempfile::tempdir().expect("a folder");
    for rate in [1_000.0, 2_000.0, 4_000.0, 8_000.0, 12_000.0] {
        let run = sample::Run {
            offered_per_s: Some(rate),
            done_per_s: f64::min(rate, 9_000.0),
            operations: 200,
        };
        run.write(&folder.path().join(format!("rate-{rate}")));
    }
    let out = folder.path().join("figures");
    let written = draw(folder.path(), &out).expect("it draws");
    let names: Vec<String> = written.iter().map(|path| name(path)).collect();
    assert_eq!(names, ["load_latency.png", "load_latency.svg"]);
    written.iter().for_each(|file| looks_right(file));
    let svg = fs::read_to_string(&written[1]).expect("it is text");
    for word in [
        "5 runs",
        ">\nget\n<",
        ">\nput\n<",
        "99.9th percentile",
        "12k",
    ] {
        assert!(svg.contains(word), "it does not say {word:?}");
    }
}

#[test]
fn what_is_there_is_drawn() {
    // Without this a bench that was killed, or that had only reads, gives no figure at all.
    let folder = tempfile::tempdir().expect("a folder");
    sample::Run::default().write(folder.path());
    for gone in [
        "summary.json",
        "put_single.csv",
        "put_latencies.csv",
        "put.hgrm.csv",
        "get.hgrm.csv",
    ] {
        fs::remove_file(folder.path().join(gone)).expect("it was there");
    }
    let written = draw(folder.path(), &folder.path().join("figures")).expect("it draws");
    let names: Vec<String> = written.iter().map(|path| name(path)).collect();
    assert_eq!(
        names,
        [
            "latency_get_single.png",
            "latency_get_single.svg",
            "throughput_get_single.png",
            "throughput_get_single.svg",
            "latency_get.png",
            "latency_get.svg"
        ]
    );
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    // Without this a torn file is drawn as if the run had ended there.
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = draw(folder.path(), folder.path()).expect_err("nothing to draw");
    assert!(matches!(nothing, Error::NoResults(_)), "{nothing}");
    assert!(nothing.to_string().contains("rkv bench"), "{nothing}");
    let absent = folder.path().join("absent");
    let absent = draw(&absent, folder.path()).expect_err("no folder");
    assert!(absent.to_string().contains("absent"), "{absent}");

    let header = "timestamp,unit,microseconds\n";
    for (file, content, what) in [
        (
            "put_single.csv",
            "a,b\n1,2\n".to_owned(),
            "line 1 should be",
        ),
        ("put_single.csv", String::new(), "empty"),
        (
            "put_single.csv",
            format!("{header}17,microsecond,x\n"),
            "line 2: microseconds is no number",
        ),
        (
            "put_single.csv",
            format!("{header}17,fortnight,3\n"),
            "fortnight",
        ),
        (
            "put_single.csv",
            format!("{header}17,microsecond,1\n17,micro"),
            "line 3",
        ),
        (
            "put.hgrm.csv",
            "percentile,microseconds\n101,5\n".to_owned(),
            "0 to 100",
        ),
        (
            "events.csv",
            "timestamp,unit,label\n5\n".to_owned(),
            "unit is missing",
        ),
        ("summary.json", "{\"started\":".to_owned(), "summary"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        sample::Run::default().write(folder.path());
        fs::write(folder.path().join(file), content).expect("it is written");
        let error = draw(folder.path(), folder.path())
            .expect_err(what)
            .to_string();
        assert!(error.contains(file), "{error} does not name {file}");
        assert!(error.contains(what), "{error} does not say {what:?}");
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().expect("a file");
    name.to_string_lossy().into_owned()
}

fn looks_right(file: &Path) {
    let bytes = fs::read(file).expect("it was written");
    if file.extension().is_some_and(|end| end == "svg") {
        let text = String::from_utf8(bytes).expect("SVG is text");
        assert!(
            text.contains("<svg width=\"1600\" height=\"900\" viewBox"),
            "{file:?}"
        );
        assert!(text.trim_end().ends_with("</svg>"), "{file:?}");
        return;
    }
    let decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    let mut reader = decoder.read_info().expect("it is a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it has a size")];
    let info = reader.next_frame(&mut pixels).expect("it is whole");
    assert_eq!((info.width, info.height), (1600, 900), "{file:?}");
    let inked = pixels.chunks(3).filter(|pixel| pixel != &[255, 255, 255]);
    assert!(inked.count() > 10_000, "{file:?} is empty");
}
