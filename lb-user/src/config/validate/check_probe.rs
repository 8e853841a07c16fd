//! What a check asks, by its type.

use std::net::IpAddr;

use super::Check;
use crate::config::error::nearest;
use crate::config::file::CheckFile;
use crate::config::reader::{Located, printable};
use crate::config::words::{CheckType, check_type};
use crate::health::probe::{
    AgentProbe, DnsProbe, ExecProbe, FileProbe, GrpcProbe, HttpProbe, HttpVersion, Name, Origin, Pattern,
    PingProbe, Probe, Rcode, RecordType, StatusSet, TcpProbe, Tls, TlsProbe, UdpProbe,
};

pub(super) fn probe(check: &mut Check<'_>, file: &CheckFile) -> Option<Probe> {
    let kind = file.kind.as_ref()?.value;
    let object = &file.object;
    for (key, types, line) in file.special() {
        if !types.contains(&kind) {
            let types: Vec<_> = types.iter().map(|of| format!("\"{}\"", check_type(*of))).collect();
            let text = format!(
                "{object}: {key}: it belongs to checks with type = {}, and this one is \"{}\"; take it out",
                types.join(" or "),
                check_type(kind)
            );
            check.problems.add(line, text);
        }
    }
    Some(match kind {
        CheckType::Tcp => Probe::Tcp(TcpProbe { send: text(&file.send), expect: text(&file.expect) }),
        CheckType::Tls => Probe::Tls(TlsProbe { tls: tls(check, file) }),
        CheckType::Http => Probe::Http(http(check, file, None)),
        CheckType::Https => {
            let tls = tls(check, file);
            Probe::Http(http(check, file, Some(tls)))
        }
        CheckType::Grpc => Probe::Grpc(grpc(check, file)),
        CheckType::Udp => {
            need(check, file, "send", file.send.is_some());
            Probe::Udp(UdpProbe { send: text(&file.send).unwrap_or_default(), expect: text(&file.expect) })
        }
        CheckType::Dns => Probe::Dns(dns(check, file)?),
        CheckType::Ping => Probe::Ping(PingProbe { size: file.size.as_ref().map_or(0, |size| size.value) }),
        CheckType::Agent => Probe::Agent(AgentProbe { send: text(&file.send) }),
        CheckType::File => {
            need(check, file, "file", file.file.is_some());
            Probe::File(of_file(check, file))
        }
        CheckType::Exec => {
            need(check, file, "command", file.command.is_some());
            Probe::Exec(exec(check, file))
        }
    })
}

/// From where and through what is asked.
pub(super) fn origin(check: &mut Check<'_>, file: &CheckFile) -> Origin {
    let object = &file.object;
    let mut source: Vec<IpAddr> = Vec::new();
    for found in file.source.iter().flat_map(|found| &found.value) {
        let shown = printable(&found.value);
        let problem = match found.value.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() || address.is_multicast() => {
                format!("{object}: source: {address} is no address of a host")
            }
            Ok(address) if source.iter().any(|other| other.is_ipv4() == address.is_ipv4()) => {
                format!("{object}: source: {address} is the second one of its family; name one for each")
            }
            Ok(address) => {
                source.push(address);
                continue;
            }
            Err(_) => format!("{object}: source: '{shown}' is no address; write for example \"10.0.0.1\""),
        };
        check.problems.add(found.line, problem);
    }
    if let Some(found) = file.interface.as_ref().filter(|found| !is_interface(&found.value)) {
        let shown = printable(&found.value);
        check.problems.add(found.line, format!("{object}: interface: '{shown}' is no name of an interface"));
    }
    Origin { source, interface: text(&file.interface) }
}

fn is_interface(name: &str) -> bool {
    (1..=15).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

fn text(found: &Option<Located<String>>) -> Option<String> {
    found.as_ref().map(|found| found.value.clone())
}

fn truth(found: &Option<Located<bool>>) -> bool {
    found.as_ref().is_some_and(|found| found.value)
}

fn need(check: &mut Check<'_>, file: &CheckFile, key: &str, is_there: bool) {
    if !is_there {
        check.problems.add(file.line, format!("{}: '{key}' is missing; add {key} = …", file.object));
    }
}

/// Notes that a value that has to be a path of a file is none.
pub(super) fn absolute(check: &mut Check<'_>, object: &str, key: &str, found: &Option<Located<String>>) {
    if let Some(found) = found.as_ref().filter(|found| !found.value.starts_with('/')) {
        let shown = printable(&found.value);
        let text = format!("{object}: {key}: '{shown}' does not begin with '/'; write the whole path");
        check.problems.add(found.line, text);
    }
}

fn tls(check: &mut Check<'_>, file: &CheckFile) -> Tls {
    let object = &file.object;
    absolute(check, object, "ca", &file.ca);
    absolute(check, object, "client_certificate", &file.client_certificate);
    absolute(check, object, "client_key", &file.client_key);
    let verify = truth(&file.verify);
    if let Some(ca) = file.ca.as_ref().filter(|_| !verify) {
        check.problems.add(ca.line, format!("{object}: ca: nothing is verified; add verify = true"));
    }
    if let Some(name) = &file.server_name
        && !Tls::is_server_name(&name.value)
    {
        let shown = printable(&name.value);
        check.problems.add(name.line, format!("{object}: server_name: '{shown}' is no name of a host"));
    }
    let client = match (&file.client_certificate, &file.client_key) {
        (Some(certificate), Some(key)) => Some((certificate.value.clone(), key.value.clone())),
        (Some(one), None) | (None, Some(one)) => {
            let text =
                format!("{object}: client_certificate and client_key belong together; add the other one");
            check.problems.add(one.line, text);
            None
        }
        (None, None) => None,
    };
    Tls::new(text(&file.server_name), verify, text(&file.ca), client)
}

fn grpc(check: &mut Check<'_>, file: &CheckFile) -> GrpcProbe {
    let is_tls = truth(&file.tls);
    let of_tls = [
        ("server_name", file.server_name.as_ref().map(|found| found.line)),
        ("verify", file.verify.as_ref().map(|found| found.line)),
        ("ca", file.ca.as_ref().map(|found| found.line)),
        ("client_certificate", file.client_certificate.as_ref().map(|found| found.line)),
        ("client_key", file.client_key.as_ref().map(|found| found.line)),
    ];
    for (key, line) in of_tls {
        if let Some(line) = line.filter(|_| !is_tls) {
            check.problems.add(line, format!("{}: {key}: there is no TLS; add tls = true", file.object));
        }
    }
    let tls = is_tls.then(|| tls(check, file));
    let service = text(&file.service).unwrap_or_default();
    let probe = GrpcProbe { service, host: text(&file.host), tls };
    if let Some(why) = probe.why_unusable() {
        let text = format!("{}: no request can be made of it: {why}", file.object);
        check.problems.add(file.line, text);
    }
    probe
}

fn dns(check: &mut Check<'_>, file: &CheckFile) -> Option<DnsProbe> {
    let object = &file.object;
    need(check, file, "query", file.query.is_some());
    let mut refuse = |found: &Located<String>, key: &str, what: &str| {
        let shown = printable(&found.value);
        check.problems.add(found.line, format!("{object}: {key}: '{shown}' {what}"));
    };
    let query = file.query.as_ref().and_then(|found| {
        let name = Name::parse(&found.value);
        if name.is_none() {
            refuse(found, "query", "is no name; write for example \"www.example.org\"");
        }
        name
    });
    let kind = match &file.query_type {
        None => Some(RecordType::A),
        Some(found) => {
            let kind = RecordType::parse(&found.value);
            if kind.is_none() {
                refuse(
                    found,
                    "query_type",
                    "is no type of records; write for example \"AAAA\" or \"TYPE99\"",
                );
            }
            kind
        }
    };
    let mut rcodes = Vec::new();
    for found in file.rcode.iter().flat_map(|found| &found.value) {
        match Rcode::parse(&found.value) {
            Some(rcode) => rcodes.push(rcode),
            None => {
                let hint = nearest(&found.value, Rcode::words());
                let hint = hint.map_or_else(
                    || format!("write one of {}", Rcode::words().collect::<Vec<_>>().join(", ")),
                    |hint| format!("did you mean '{hint}'?"),
                );
                refuse(found, "rcode", &format!("is no code of an answer; {hint}"));
            }
        }
    }
    if file.rcode.is_none() {
        rcodes.push(Rcode::NOERROR);
    } else if let Some(found) = file.rcode.as_ref().filter(|found| found.value.is_empty()) {
        check.problems.add(
            found.line,
            format!("{object}: rcode: no answer would do; name some, such as [\"noerror\"]"),
        );
    }
    Some(DnsProbe {
        query: query?,
        kind: kind?,
        rcodes,
        answer: text(&file.answer),
        transport: file.transport.as_ref().map(|found| found.value).unwrap_or_default(),
    })
}

fn of_file(check: &mut Check<'_>, file: &CheckFile) -> FileProbe {
    absolute(check, &file.object, "file", &file.file);
    FileProbe {
        path: text(&file.file).unwrap_or_default(),
        expect: text(&file.expect),
        dynamic_weight: truth(&file.dynamic_weight),
    }
}

fn exec(check: &mut Check<'_>, file: &CheckFile) -> ExecProbe {
    let command: Vec<String> = match &file.command {
        Some(found) => found.value.iter().map(|part| part.value.clone()).collect(),
        None => Vec::new(),
    };
    if let Some(found) =
        file.command.as_ref().filter(|_| !command.first().is_some_and(|path| path.starts_with('/')))
    {
        let text = format!(
            "{}: command: it does not begin with the path of a program; write for example [\"/usr/local/bin/probe\", \"--fast\"]",
            file.object
        );
        check.problems.add(found.line, text);
    }
    ExecProbe { command, dynamic_weight: truth(&file.dynamic_weight) }
}

fn http(check: &mut Check<'_>, file: &CheckFile, tls: Option<Tls>) -> HttpProbe {
    let object = &file.object;
    let default = HttpProbe::default();
    let mut headers = Vec::new();
    for header in file.headers.iter().flat_map(|found| &found.value) {
        match header.value.split_once(':') {
            Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                let shown = printable(&header.value);
                let text = format!("{object}: headers: '{shown}' has no ':'; write \"Name: value\"");
                check.problems.add(header.line, text);
            }
        }
    }
    let body_matches = file.body_matches.as_ref().and_then(|found| match Pattern::new(&found.value) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            let text = format!("{object}: body_matches: it is no regular expression: {why}");
            check.problems.add(found.line, text);
            None
        }
    });
    let probe = HttpProbe {
        method: text(&file.method).unwrap_or(default.method),
        path: text(&file.path).unwrap_or(default.path),
        host: text(&file.host),
        headers,
        version: file.http_version.as_ref().map(|version| version.value).unwrap_or_default(),
        status: status(check, file).unwrap_or(default.status),
        body_contains: text(&file.body_contains),
        body_matches,
        requests: file.requests.as_ref().map_or(default.requests, |found| found.value),
        tls,
    };
    if let Some(found) = file.requests.as_ref().filter(|found| found.value > 1)
        && probe.version == HttpVersion::Http2
    {
        let text = format!("{object}: requests: checks by HTTP/2 have a connection each; take it out");
        check.problems.add(found.line, text);
    }
    if let Some(found) = file.path.as_ref().filter(|path| !path.value.starts_with('/')) {
        check.problems.add(found.line, format!("{object}: path: it does not begin with '/'"));
    } else if let Some(why) = probe.why_unusable() {
        check.problems.add(file.line, format!("{object}: no request can be made of it: {why}"));
    }
    probe
}

fn status(check: &mut Check<'_>, file: &CheckFile) -> Option<StatusSet> {
    let object = &file.object;
    let found = file.status.as_ref()?;
    let mut status = Vec::new();
    for part in &found.value {
        match StatusSet::parse_one(&part.value) {
            Some(range) => status.push(range),
            None => {
                let shown = printable(&part.value);
                let text = format!(
                    "{object}: status: '{shown}' is no status code; write for example \"200\", \"200-204\" or \"2xx\""
                );
                check.problems.add(part.line, text);
            }
        }
    }
    if found.value.is_empty() {
        let text = format!("{object}: status: no answer would do; name some, such as [\"2xx\"]");
        check.problems.add(found.line, text);
    }
    Some(StatusSet(status))
}
