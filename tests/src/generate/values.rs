//! Values of arguments, each by itself.

use lb_user::state::MacAddress;

use crate::bench::generator::Size;

pub(super) fn mac(text: &str) -> Result<MacAddress, String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| (byte.len() == 2).then(|| u8::from_str_radix(byte, 16).ok()).flatten())
        .collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(MacAddress).ok_or_else(|| "no MAC address; write 02:00:00:00:00:01".to_owned())
}

pub(super) fn size(text: &str) -> Result<Size, String> {
    if text == "imix" {
        return Ok(Size::Imix);
    }
    text.parse().map(Size::Frame).map_err(|_| "neither bytes of a frame, such as 512, nor imix".to_owned())
}

/// With or without a factor.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |number| (number, 1e6)),
    };
    let rate = number.parse::<f64>().map(|number| number * factor);
    rate.ok()
        .filter(|rate| (1.0..=1e9).contains(rate))
        .ok_or_else(|| "no rate; write packets a second from 1, such as 250000, 500k or 1.5M".to_owned())
}

pub(super) fn connection_id(text: &str) -> Result<[u8; 13], String> {
    let pair = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(pair).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| "not 13 bytes in hexadecimal".to_owned())
}
