//! Hooks: every setting, and what cannot work.

use std::time::Duration;

use super::*;
use crate::hooks::{Address, Arguments, Call, Class, Filter, Hook, Kind, Limits, On, Security};

/// [`GOOD`] with this behind it; its first line is the 19th.
fn file(hooks: &str) -> String {
    format!("{GOOD}\n{hooks}")
}

fn read(hooks: &str) -> BTreeMap<String, Hook> {
    parse(&file(hooks)).expect("valid").hooks
}

#[track_caller]
fn problem(hooks: &str, expected: &[&str]) {
    let expected: Vec<_> = expected.iter().map(|text| format!("f.toml:{text}")).collect();
    assert_eq!(problems(&file(hooks)), expected, "{hooks}");
}

#[test]
fn a_short_hook_takes_defaults_for_all_that_it_leaves_out() {
    let hooks = read("[[hook]]\nname = \"h\"\ntype = \"exec\"\ncommand = [\"/bin/notify\", \"{text}\"]\n");
    let hook = &hooks["h"];
    let Call::Exec(exec) = &hook.call else { panic!("{hook:?}") };
    assert_eq!(
        (exec.command.as_slice(), exec.arguments),
        (&["/bin/notify".to_owned(), "{text}".to_owned()][..], Arguments::None)
    );
    assert_eq!((hook.filter.clone(), hook.limits), (Filter::default(), Limits::default()));
    assert_eq!((hook.timeout, hook.tries), (Duration::from_secs(10), 4));
}

#[test]
fn every_setting_is_read() {
    let hooks = read(
        r#"
[[vrrp.router]]
name = "edge"
interface = "eth0"
router_id = 51
addresses = ["192.0.2.1"]

[[hook]]
name = "roles"
type = "exec"
command = ["/etc/keepalived/notify.sh"]
arguments = "keepalived"
routers = ["edge"]

[[hook]]
name = "chat"
type = "webhook"
url_file = "/etc/ferrolev/chat.url"
headers = ["X-Team: net"]
headers_file = "/etc/ferrolev/chat.headers"
ca = "/etc/ssl/ours.pem"
on = ["backend_down", "vrrp"]
vips = ["web"]
backends = ["web-1"]
timeout = "3s"
tries = 2
rate = 6
burst = 3
queue = 9

[[hook]]
name = "mail"
type = "email"
server = "mx.example.com"
security = "tls"
user = "lb"
password_file = "/etc/ferrolev/mail.password"
from = "Ferrolev <lb@example.com>"
to = ["ops@example.com"]
verify = false
"#,
    );
    let roles = &hooks["roles"];
    assert_eq!(
        (&roles.filter.on, &roles.filter.routers),
        (&[On::Class(Class::Vrrp)].into(), &["edge".to_owned()].into())
    );
    let chat = &hooks["chat"];
    let Call::Webhook(webhook) = &chat.call else { panic!("{chat:?}") };
    assert_eq!(webhook.url, Address::File("/etc/ferrolev/chat.url".to_owned()));
    assert_eq!(webhook.headers, [("X-Team".to_owned(), "net".to_owned())]);
    assert_eq!((webhook.tls.ca.as_deref(), webhook.tls.verify), (Some("/etc/ssl/ours.pem"), true));
    assert_eq!(chat.filter.on, [On::Kind(Kind::BackendDown), On::Class(Class::Vrrp)].into());
    assert_eq!((chat.filter.vips.len(), chat.filter.backends.len()), (1, 1));
    assert_eq!((chat.timeout, chat.tries), (Duration::from_secs(3), 2));
    assert_eq!(chat.limits, Limits { per_minute: 6, burst: 3, waiting: 9 });
    let Call::Email(email) = &hooks["mail"].call else { panic!("{hooks:?}") };
    assert_eq!((email.port, email.security, email.tls.verify), (465, Security::Tls, false));
    assert_eq!(email.login, Some(("lb".to_owned(), "/etc/ferrolev/mail.password".to_owned())));
}

#[test]
fn what_cannot_work_is_named_with_the_way_out() {
    problem(
        "[[hook]]\nname = \"h\"\ntype = \"exec\"",
        &["19: hook h: 'command' is missing; add command = …"],
    );
    problem("[[hook]]\nname = \"h\"\ntype = \"webhook\"", &["19: hook h: 'url' is missing; add url = …"]);
    problem(
        "[[hook]]\nname = \"h\"\ntype = \"webhook\"\nurl = \"http://u:s3cret@a/\"\nheaders = [\"Authorization: s3cret\"]",
        &[
            "22: hook h: url: it has a name or password in it; write an Authorization header into headers_file",
            "23: hook h: headers: authorization is a secret; write the line into a file, and its path as headers_file",
        ],
    );
    problem(
        "[[hook]]\nname = \"h\"\ntype = \"exec\"\ncommand = [\"/bin/x\", \"{vip}\"]\non = [\"backend_dwn\"]\nvips = [\"wep\"]\nto = []\nrouters = [\"edge\"]",
        &[
            "22: hook h: command: there is no value '{vip}'; did you mean 'vips'?",
            "23: hook h: on: 'backend_dwn' is no kind of events; did you mean 'backend_down'?",
            "24: hook h: vips: no vip is called 'wep'; did you mean 'web'?",
            "25: hook h: to: it belongs to hooks with type = \"email\", and this one is \"exec\"; take it out",
            "26: hook h: routers: no virtual router or sync group is called 'edge'",
        ],
    );
    problem(
        "[[hook]]\nname = \"h\"\ntype = \"exec\"\ncommand = [\"/bin/x\"]\narguments = \"keepalived\"\non = [\"health\"]",
        &[
            "24: hook h: on: with arguments = \"keepalived\" only changes of roles are told; write [\"vrrp\"], [\"role\"] or [\"group_role\"]",
        ],
    );
    problem(
        "[[hook]]\nname = \"h\"\ntype = \"email\"\nserver = \"a b\"\nfrom = \"nobody\"\nto = [\"o@example.com\"]\nsecurity = \"none\"\nuser = \"u\"\npassword_file = \"p\"",
        &[
            "22: hook h: server: 'a b' is no name of a host",
            "23: hook h: from: 'nobody' is no mail address; write for example \"ops@example.com\"",
            "26: hook h: user: the password would be sent in the clear; add security = \"starttls\" or \"tls\"",
            "27: hook h: password_file: 'p' does not begin with '/'; write the whole path",
        ],
    );
}

#[test]
fn a_password_in_the_file_is_refused_and_not_repeated() {
    let hook = "[[hook]]\nname = \"h\"\ntype = \"email\"\nserver = \"mx\"\nfrom = \"a@b.example\"\nto = [\"a@b.example\"]\npassword = \"s3cret\"";
    let problems = problems(&file(hook));
    assert!(
        problems.len() == 1 && problems[0].starts_with("f.toml:25: unknown key 'password' in [[hook]]"),
        "{problems:?}"
    );
    assert!(!problems[0].contains("s3cret"));
}
