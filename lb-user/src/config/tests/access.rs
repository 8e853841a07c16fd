//! Access lists, in the file and in files of their own.

use std::io;

use super::*;
use crate::state::Prefix;

fn access(lines: &str) -> String {
    with("[[backend]]", &format!("[access]\n{lines}\n[[backend]]"))
}

/// Parses `text` at `/etc/f.toml` with one other file, `/etc/list.txt`.
fn with_list(text: &str, list: &str) -> Result<Config, ConfigError> {
    Config::parse_with(Path::new("/etc/f.toml"), text, &|path| match path.to_str() {
        Some("/etc/list.txt") => Ok(list.as_bytes().to_vec()),
        _ => Err(io::Error::from_raw_os_error(2)),
    })
}

#[track_caller]
fn list_problems(lines: &str, list: &str, expected: &[&str]) {
    let error = with_list(&access(lines), list).expect_err("the list is wrong").to_string();
    let expected: Vec<_> = expected.iter().map(|text| format!("/etc/f.toml:4: [access]: {text}")).collect();
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

fn shown(prefixes: &[Prefix]) -> Vec<String> {
    prefixes.iter().map(Prefix::to_string).collect()
}

#[test]
fn lists_of_the_file_and_of_other_files_are_united() {
    let text = access("allow = [\"10.0.0.0/8\", \"192.0.2.7\"]\nallow_file = \"list.txt\"");
    let list = "# the office\n\n  2001:db8::/32  # and its guests\r\n10.0.0.0/8\n172.16.0.1\n172.16.0.1";
    let config = with_list(&text, list).expect("valid");
    assert_eq!(shown(&config.access.allow), ["10.0.0.0/8", "172.16.0.1", "192.0.2.7", "2001:db8::/32"]);
    assert!(config.access.deny.is_empty());
    assert_eq!(shown(&config.access_source.allow), ["10.0.0.0/8", "192.0.2.7"]);
    assert!(config.vips.values().all(|vip| vip.options.access.is_empty()));
}

#[test]
fn a_vip_has_lists_of_its_own() {
    let text = format!("{GOOD}deny = [\"10.0.0.0/8\"]\ndeny_file = \"/etc/list.txt\"\n");
    let config = with_list(&text, "10.0.0.1\n").expect("valid");
    let vip = config.vips.values().next().expect("one vip");
    assert_eq!(shown(&vip.options.access.deny), ["10.0.0.0/8", "10.0.0.1"]);
    assert!(config.access.is_empty());
}

#[test]
fn the_written_configuration_names_the_files_and_not_their_lines() {
    let text = access("deny_file = \"list.txt\"") + "allow_file = \"list.txt\"\n";
    let written = with_list(&text, "10.9.0.0/16\n").expect("valid").to_toml();
    assert!(written.contains("\n[access]\ndeny_file = \"list.txt\"\n"), "{written}");
    assert!(written.contains("\nallow_file = \"list.txt\"\n"), "{written}");
    assert!(!written.contains("10.9"), "{written}");
}

#[test]
fn wrong_prefixes_are_told_one_by_one() {
    assert_eq!(
        problems(&access("allow = [\n\"10.0.0.1/8\",\n7,\n\"10.0.0.0/8\",\n\"10.0.0.0/8\"]")),
        [
            "f.toml:5: [access]: allow: '10.0.0.1/8' has host bits set; write \"10.0.0.0/8\", or \"10.0.0.1\" for one address",
            "f.toml:6: [access]: allow: found the number 7; write a list such as [\"192.0.2.0/24\", \"2001:db8::/32\"]",
            "f.toml:8: [access]: allow: 10.0.0.0/8 is named twice; remove one",
        ]
    );
    assert_eq!(
        problems(&access("deny = \"10.0.0.0/8\"")),
        [
            "f.toml:4: [access]: deny: found the text '10.0.0.0/8'; write a list such as [\"192.0.2.0/24\", \"2001:db8::/32\"]"
        ]
    );
    assert_eq!(
        problems(&format!("{GOOD}deny = [\"::ffff:10.0.0.0/104\"]\n")),
        [
            "f.toml:18: vip 192.0.2.1:80/tcp: deny: '::ffff:10.0.0.0/104' is IPv4 in IPv6 clothes; write \"10.0.0.0/8\""
        ]
    );
}

#[test]
fn wrong_lines_of_a_file_are_told_with_their_numbers_up_to_a_few() {
    list_problems(
        "allow_file = \"list.txt\"",
        "10.0.0.0/8\n\noffice # ours\n",
        &[
            "allow_file: /etc/list.txt:3: 'office' is neither prefix nor address; write \"192.0.2.0/24\", \"2001:db8::/32\" or an address",
        ],
    );
    let error = with_list(&access("deny_file = \"list.txt\""), &"10.0.0.1/8\n".repeat(500));
    let error = error.expect_err("all lines are wrong").to_string();
    assert_eq!(error.lines().count(), 6);
    let expected =
        "/etc/f.toml:4: [access]: deny_file: /etc/list.txt: 495 more lines are wrong; mend these first";
    assert!(error.lines().any(|line| line == expected), "{error}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    list_problems(
        "allow_file = \"lost.txt\"",
        "",
        &[
            "allow_file: cannot read /etc/lost.txt: No such file or directory (os error 2); write the path of a text file with one prefix a line",
        ],
    );
    list_problems(
        "deny_file = \"\"",
        "",
        &["deny_file: is empty; write the path of a text file, or leave it out"],
    );
    let read = |_: &Path| Ok(b"10.0.0.1\n# caf\xe9\n".to_vec());
    let error = Config::parse_with(Path::new("f.toml"), &access("allow_file = \"l\""), &read);
    assert_eq!(
        error.expect_err("not UTF-8").to_string(),
        "f.toml:4: [access]: allow_file: l:2: not UTF-8; save the file in that encoding"
    );
}

#[test]
fn a_prefix_is_allowed_or_denied_but_not_both() {
    let nested = access("allow = [\"10.1.0.0/16\"]\ndeny = [\"10.0.0.0/8\", \"10.1.2.3\"]");
    parse(&nested).expect("the longest prefix decides");
    assert_eq!(
        problems(&access("allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]")),
        ["f.toml:5: [access]: deny: 10.0.0.0/8 is allowed too; take it out of one of the two"]
    );
    let lines: String = (0..9).map(|n| format!("10.0.0.{n}\n")).collect();
    let text = access("deny_file = \"list.txt\"\nallow_file = \"list.txt\"");
    let error = with_list(&text, &lines).expect_err("contradictory").to_string();
    let told: Vec<_> = error.lines().collect();
    assert_eq!(told.len(), 6);
    assert_eq!(
        told[0],
        "/etc/f.toml:4: [access]: deny_file: 10.0.0.0 in list.txt is allowed too; take it out of one of the two"
    );
    assert!(error.contains("[access]: 4 more prefixes are both allowed and denied"), "{error}");
}

#[test]
fn a_file_is_read_once_however_many_name_it() {
    let reads = std::cell::Cell::new(0);
    let text = access("deny_file = \"list.txt\"") + "deny_file = \"list.txt\"\n";
    let read = |_: &Path| {
        reads.set(reads.get() + 1);
        Ok(b"10.0.0.1\n".to_vec())
    };
    let config = Config::parse_with(Path::new("f.toml"), &text, &read).expect("valid");
    assert_eq!(reads.get(), 1);
    let vip = config.vips.values().next().expect("one vip");
    assert_eq!(vip.options.access.deny, config.access.deny);
}

#[test]
fn a_relative_path_begins_at_the_directory_of_the_configuration() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("f.toml");
    std::fs::create_dir(dir.path().join("lists")).expect("directory");
    std::fs::write(dir.path().join("lists/office.txt"), "192.0.2.0/24\n").expect("written");
    std::fs::write(&path, access("allow_file = \"lists/office.txt\"")).expect("written");
    let config = Config::load(&path).expect("valid");
    assert_eq!(shown(&config.access.allow), ["192.0.2.0/24"]);
}

#[test]
fn prefixes_of_all_lists_must_fit_their_table() {
    let list: String = (0..1u32 << 20).map(|n| format!("{}\n", std::net::Ipv4Addr::from(n))).collect();
    let vips = |count: u32| -> String {
        let vip = |n| {
            format!(
                "[[vip]]\naddress = \"192.0.2.{n}\"\nport = 80\nprotocol = \"tcp\"\ndeny_file = \"list.txt\"\n"
            )
        };
        (2..2 + count).map(vip).collect()
    };
    let text = access("deny_file = \"list.txt\"");
    with_list(&(text.clone() + &vips(3)), &list).expect("four lists of a million fit");
    let error = with_list(&(text + &vips(4)), &list).expect_err("five do not").to_string();
    assert_eq!(
        error,
        "/etc/f.toml:39: access lists: 5242880 prefixes do not fit, there is room for 4194304; a list counts for each vip that has it, so move what counts for all to [access]"
    );
}
