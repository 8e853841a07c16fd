use super::*;

/// [`FILE`] with vip `three`, which is of one group with `one`.
fn grouped() -> Config {
    let group = "affinity = \"source\"\ngroup = \"g\"\nring_size = 251\nbackends = [\"a\", \"b\"]\n";
    let three = "\n[[vip]]\nname = \"three\"\naddress = \"192.0.2.3\"\nport = 80\nprotocol = \"tcp\"\n";
    let one = FILE.replacen("ring_size = 251\nbackends = [\"a\", \"b\"]\n", group, 1);
    parse(&format!("{}{three}{group}", one.replace("dests = 32", "dests = 64")))
}

const NOTE: &str = "the change is made in three too, since all vips of a group have the same backends";

#[test]
fn a_change_in_one_vip_of_a_group_is_made_in_all_and_said() {
    let config = grouped();
    let mut before = Overlay::default();
    for change in [
        drain("a", Some("one")),
        undrain("a", Some("one")),
        weigh("b", Some("one"), 9),
        add("one", "c", None, None),
        remove("a", Some("one")),
    ] {
        let done = before.apply(&change, &mark(1), &config).unwrap();
        assert_eq!(done.notes, [format!("group g: {NOTE}")], "{change:?}");
        before = done.overlay;
        let desired = merge(&config, &before).desired;
        let [one, three] = ["one", "three"].map(|vip| &desired.vips[&find_vip(&desired, vip).unwrap()]);
        assert_eq!(one.members, three.members, "{change:?}");
    }
    assert_eq!(
        members(&config, &[add("three", "c", None, None), remove("a", Some("three"))], "one"),
        [member("b", "10.0.0.2", 70, false), member("c", "10.0.0.3", 100, false)]
    );
    assert_eq!(members(&config, &[drain("b", Some("one"))], "two")[0], member("b", "10.0.0.2", 5, false));
}

#[test]
fn a_change_in_all_vips_needs_no_note() {
    let done = Overlay::default().apply(&drain("a", None), &mark(1), &grouped()).unwrap();
    assert_eq!(done.notes, Vec::<String>::new());
}

#[test]
fn a_group_that_the_file_makes_takes_the_newest_change_of_its_vips() {
    let apart = overlay(&config(), &[weigh("a", Some("one"), 5), drain("b", Some("one"))]);
    let grouped = grouped();
    let settled = apart.settled(&grouped);
    assert_eq!(settled.settled(&grouped), settled);
    let desired = merge(&grouped, &settled).desired;
    let three = &desired.vips[&find_vip(&desired, "three").unwrap()];
    assert_eq!((three.members["a"].weight, three.members["b"].drained), (5, true));
    assert_eq!(three.members, desired.vips[&find_vip(&desired, "one").unwrap()].members);
    assert_eq!(apart.settled(&config()), apart, "without a group nothing spreads");
}
