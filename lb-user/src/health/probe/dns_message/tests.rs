//! Messages as servers send them, and as nobody should.

use proptest::prelude::*;

use super::*;

fn name() -> Name {
    Name::parse("www.Example.org").expect("a name")
}

const A: RecordType = RecordType(1);

/// An answer to a question for [`name`], with these records.
fn message(flags: u16, kind: RecordType, records: &[&[u8]]) -> Vec<u8> {
    let mut message = query(7, &Name::parse("www.example.ORG.").expect("a name"), kind);
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    records.iter().for_each(|record| message.extend_from_slice(record));
    message
}

/// A record whose name is the question's, by a pointer.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    let head = [0xc0, 12, high, low, 0, 1, 0, 0, 0, 60];
    [&head[..], &(data.len() as u16).to_be_bytes(), data].concat()
}

const ANSWERED: u16 = 0x8180;

#[test]
fn a_query_is_as_the_standard_draws_it() {
    let expected =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07Example\x03org\x00\x00\x1c\x00\x01";
    assert_eq!(query(0x1234, &name(), RecordType(28)), expected);
    assert_eq!(query(1, &Name::parse(".").expect("the root"), RecordType(2))[12..], [0, 0, 2, 0, 1]);
}

#[test]
fn records_of_the_type_that_was_asked_for_say_what_they_hold() {
    let alias = record(5, &[3, b'w', b'e', b'b', 0xc0, 16]);
    let found = answer(&message(ANSWERED, A, &[&alias, &record(1, &[192, 0, 2, 1])]), 7, &name(), A);
    let found = found.expect("an answer");
    assert_eq!((found.rcode, found.is_truncated), (Rcode::NOERROR, false));
    assert_eq!(found.says, ["192.0.2.1"], "the alias is of another type");
    let said = |kind: u16, data: &[u8]| {
        let message = message(ANSWERED, RecordType(kind), &[&record(kind, data)]);
        answer(&message, 7, &name(), RecordType(kind)).expect("an answer").says.concat()
    };
    assert_eq!(said(5, &[3, b'w', b'e', b'b', 0xc0, 16]), "web.example.ORG");
    assert_eq!(said(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "2001:db8::1");
    assert_eq!(said(15, &[0, 10, 0xc0, 16]), "example.ORG");
    assert_eq!(said(33, &[0, 1, 0, 2, 0, 80, 0xc0, 12]), "www.example.ORG");
    assert_eq!(said(16, b"\x02ab\x01c"), "abc");
    assert_eq!(said(6, b"anything"), "");
}

#[test]
fn an_error_is_an_answer_with_the_question_or_without() {
    let refused = |message: &[u8]| answer(message, 7, &name(), A).expect("an answer").rcode.to_string();
    assert_eq!(refused(&message(0x8183, A, &[])), "nxdomain");
    let mut without = message(0x8181, A, &[]);
    without.truncate(HEADER_LEN);
    without[5] = 0;
    assert_eq!(refused(&without), "formerr");
    without[3] = 0x80;
    assert_eq!(answer(&without, 7, &name(), A), Err(NoAnswer::Malformed), "no error and no question");
}

#[test]
fn what_belongs_to_another_question_is_passed_over() {
    let good = message(ANSWERED, A, &[]);
    assert!(answer(&good, 7, &name(), A).is_ok());
    assert_eq!(answer(&good, 8, &name(), A), Err(NoAnswer::Other));
    assert_eq!(answer(&good, 7, &name(), RecordType(28)), Err(NoAnswer::Other));
    assert_eq!(answer(&good, 7, &Name::parse("example.org").expect("a name"), A), Err(NoAnswer::Other));
    assert_eq!(answer(&message(0x0100, A, &[]), 7, &name(), A), Err(NoAnswer::Other), "our own query");
}

#[test]
fn what_is_malformed_is_no_answer() {
    let wrong = |records: &[&[u8]]| {
        assert_eq!(
            answer(&message(ANSWERED, A, records), 7, &name(), A),
            Err(NoAnswer::Malformed),
            "{records:?}"
        );
    };
    wrong(&[&record(1, &[1, 2, 3])]);
    wrong(&[&record(1, &[1, 2, 3, 4, 5])]);
    wrong(&[&record(1, &[1, 2, 3, 4])[..12]]);
    wrong(&[&[0x40, 0, 0, 1, 0, 1]]);
    wrong(&[&[0xc0]]);
    wrong(&[&[63, b'x']]);
}

#[test]
fn a_pointer_never_leads_forwards_or_in_a_circle() {
    let at = message(ANSWERED, A, &[]).len() as u8;
    for pointer in [[0xc0, at], [0xc0, at + 2], [0xc0, 11], [0xc0, 0], [0xff, 0xff]] {
        let record = [&pointer[..], &[0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(
            answer(&message(ANSWERED, A, &[&record]), 7, &name(), A),
            Err(NoAnswer::Malformed),
            "{pointer:?}"
        );
    }
    // A label and then a pointer to itself would grow for ever.
    let circle = [1, b'x', 0xc0, at, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
    assert_eq!(answer(&message(ANSWERED, A, &[&circle]), 7, &name(), A), Err(NoAnswer::Malformed));
}

#[test]
fn of_a_truncated_answer_the_whole_records_count() {
    let whole = record(1, &[192, 0, 2, 1]);
    let found = answer(&message(0x8380, A, &[&whole, &whole[..9]]), 7, &name(), A).expect("an answer");
    assert_eq!((found.is_truncated, found.says.len()), (true, 1));
}

#[test]
fn names_and_types_are_read_as_people_write_them() {
    for good in [".", "a", "a.b.", "_dns.example.org", "x--y.0"] {
        assert!(Name::parse(good).is_some(), "{good}");
    }
    let long = "a.".repeat(127);
    for wrong in ["", "..", ".a", "a..b", "a b", "ä", &"x".repeat(64), &format!("{long}b")] {
        assert!(Name::parse(wrong).is_none(), "{wrong}");
    }
    assert_eq!(RecordType::parse("aaaa"), Some(RecordType(28)));
    assert_eq!(RecordType::parse("TYPE99"), Some(RecordType(99)));
    assert_eq!(RecordType::parse("TYPE"), None);
    assert_eq!(RecordType(99).to_string(), "TYPE99");
    assert_eq!(Rcode::parse("nxdomain").map(|rcode| rcode.to_string()).as_deref(), Some("nxdomain"));
    assert_eq!(Rcode(9).to_string(), "rcode 9");
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_none(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        flags in prop_oneof![Just(ANSWERED), any::<u16>()],
        kind in prop::sample::select(vec![1u16, 2, 5, 15, 16, 28, 33, 99]),
        count in 0u16..=u16::MAX,
    ) {
        let kind = RecordType(kind);
        let _ = answer(&bytes, 7, &name(), kind);
        let mut like_one = message(flags, kind, &[&bytes]);
        like_one[6..8].copy_from_slice(&count.to_be_bytes());
        if let Ok(found) = answer(&like_one, 7, &name(), kind) {
            prop_assert!(found.says.len() <= bytes.len());
        }
    }

    #[test]
    fn a_message_with_one_byte_changed_is_an_answer_or_none(at in 0usize..60, byte in any::<u8>()) {
        let mut message = message(ANSWERED, A, &[&record(5, &[0xc0, 16]), &record(1, &[192, 0, 2, 1])]);
        let at = at % message.len();
        message[at] = byte;
        let _ = answer(&message, 7, &name(), A);
    }
}
