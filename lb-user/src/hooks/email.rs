//! Sends an event as a mail: one connection a mail, in the clear, with STARTTLS or with TLS from the first byte on.

use std::error::Error;
use std::time::UNIX_EPOCH;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::caller::Failed;
use super::event::{Event, Place};
use super::secret;
use super::settings::{Email, Security};

pub(super) async fn send(email: &Email, event: &Event, place: &Place) -> Result<(), Failed> {
    let message = message(email, event, place).map_err(Failed::for_good)?;
    let transport = transport(email, place).await?;
    match transport.send(message).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = format!("{}:{}: {}", email.server, email.port, in_words(&error));
            // A server that refuses for good says so; all else may have been the way to it.
            Err(if error.is_permanent() { Failed::for_good(why) } else { Failed::for_now(why) })
        }
    }
}

async fn transport(email: &Email, place: &Place) -> Result<AsyncSmtpTransport<Tokio1Executor>, Failed> {
    let tls = match email.security {
        Security::None => Tls::None,
        Security::Starttls => Tls::Required(parameters(email).await?),
        Security::Tls => Tls::Wrapper(parameters(email).await?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.server)
        .port(email.port)
        .tls(tls)
        // The whole call has a limit of its own.
        .timeout(None);
    if !place.host.is_empty() {
        builder = builder.hello_name(ClientId::Domain(place.host.clone()));
    }
    if let Some((user, password_file)) = &email.login {
        let password = secret::read(password_file).await?;
        builder = builder
            .credentials(Credentials::new(user.clone(), password))
            .authentication(vec![Mechanism::Plain, Mechanism::Login]);
    }
    Ok(builder.build())
}

async fn parameters(email: &Email) -> Result<TlsParameters, Failed> {
    let mut builder = TlsParameters::builder(email.server.clone());
    if !email.tls.verify {
        builder = builder.dangerous_accept_invalid_certs(true).dangerous_accept_invalid_hostnames(true);
    } else if let Some(path) = &email.tls.ca {
        let pem = tokio::fs::read(path).await.map_err(|error| Failed::for_now(format!("{path}: {error}")))?;
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| Failed::for_good(format!("{path}: {error}")))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    builder.build().map_err(Failed::for_good)
}

fn message(email: &Email, event: &Event, place: &Place) -> Result<Message, String> {
    let parsed = |text: &String| text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}"));
    let mut builder = Message::builder()
        .from(parsed(&email.from)?)
        .subject(format!("[ferrolev {}] {}", place.host, one_line(&event.text)))
        .date(event.at.max(UNIX_EPOCH))
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        builder = builder.to(parsed(to)?);
    }
    builder.body(body(event, place)).map_err(|error| error.to_string())
}

/// The text, and below it all values that there are.
fn body(event: &Event, place: &Place) -> String {
    let mut body = format!("{}\n\n", event.text);
    let values = event.texts(place).into_iter().filter(|(name, text)| *name != "text" && !text.is_empty());
    for (name, text) in values {
        body.push_str(&format!("{name}: {}\n", one_line(&text)));
    }
    body
}

fn one_line(text: &str) -> String {
    text.split(char::is_control).collect::<Vec<_>>().join(" ")
}

/// Whether mails can come from or go to it.
pub(crate) fn is_mailbox(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

fn in_words(error: &smtp::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if !text.contains(&inner.to_string()) {
            text.push_str(&format!(": {inner}"));
        }
        source = inner.source();
    }
    text
}
