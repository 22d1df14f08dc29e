//! A small disk that really fills up: intake says so and comes back, and reading goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{STANDARD, hooks};
use crate::fixture::{CLUB, Host, checked, text};

/// 8 MiB of 64 must stay free.
const CONFIG: &str = "
[webhook]
verifiedPerMinuteMax = 1000000
[disk]
fullBytes = 8388608
lowBytes = 9000000
lookSeconds = 1
";

/// A disk in memory over the data directory; it goes when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Moves a stopped host's data onto it. None where the machine does not let a test do that.
    fn over(data: &Path) -> Option<SmallDisk> {
        let aside = data.with_extension("aside");
        fs::rename(data, &aside).expect("the data moves");
        fs::create_dir(data).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs"])
            .arg(data)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let disk = SmallDisk(data.to_owned());
        let files = format!("{}/.", aside.display());
        let copied = Command::new("cp").args(["-a", &files]).arg(data).status();
        assert!(copied.expect("cp starts").success());
        Some(disk)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves so much room.
    fn fill_to(&self, free_mebibytes: u64) {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.0).output();
        let text = String::from_utf8(output.expect("df starts").stdout).expect("UTF-8");
        let free: u64 = text.lines().nth(1).expect("a figure").trim().parse().expect("a number");
        let bytes = free - (free_mebibytes << 20);
        fs::write(self.filler(), vec![1; usize::try_from(bytes).expect("it fits")]).expect("fills");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_else_suffers() {
    let mut hooks = hooks("standard", STANDARD, 2, CONFIG);
    hooks.setup.synced();
    hooks.setup.host.kill();
    let Some(disk) = SmallDisk::over(&hooks.host().data_dir()) else {
        println!("SKIPPED: this test may not mount a disk");
        return;
    };
    hooks.setup.host.restart();
    let before = hooks.tell("updated", "M-1");
    hooks.followed(&before);
    disk.fill_to(4);
    let delivery = hooks.signed(&hooks.event("updated", "M-2"));
    let full = hooks.send(&delivery);
    assert_eq!(checked("POST", "on a full disk", &full, 503)["code"], "disk.full");
    assert_eq!(full.header("retry-after"), Some("60"));
    let mut forged = delivery.clone();
    forged.body.push(b' ');
    assert_eq!(hooks.send(&forged).status, 401, "who is not believed learns nothing of it");
    assert_eq!(hooks.setup.records().len(), 2, "reading goes on");
    assert_eq!(hooks.processed(&before)["verdict"], "accepted");
    // As the sender comes again: first in vain, then there is room.
    assert_eq!(hooks.send(&delivery).status, 503);
    fs::remove_file(disk.filler()).expect("room");
    let answer = checked("POST", "with room again", &hooks.send(&delivery), 200);
    assert_eq!(answer["status"], "accepted", "what was refused is no duplicate");
    let (_, runs) = hooks.followed(&text(&answer, "deliveryId"));
    assert_eq!(runs[0]["status"], "completed", "{:#}", runs[0]);
    let host: &Host = hooks.host();
    assert_eq!(host.get("/organizations")["items"][0]["id"], json!("club"), "{CLUB}");
    hooks.setup.host.kill();
    drop(disk);
}
