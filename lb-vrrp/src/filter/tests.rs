use super::*;

fn vip(last: u8) -> IpAddr {
    IpAddr::from([10, 9, 0, last])
}

fn interval(centiseconds: u16) -> Interval {
    Interval::from_centiseconds(centiseconds).unwrap()
}

fn filter(version: Version) -> Filter {
    Filter {
        version,
        vrid: 51,
        addresses: vec![vip(50), vip(51)],
        interval: interval(100),
        authentication: Authentication::None,
        check_hop_limit: true,
        peers: None,
        own_addresses: vec![vip(11)],
        owner: false,
    }
}

fn advert(version: Version) -> Advert {
    Advert {
        version,
        vrid: 51,
        priority: 150,
        interval: interval(100),
        addresses: vec![vip(50), vip(51)],
        authentication: Authentication::None,
    }
}

fn from(source: IpAddr) -> Envelope {
    Envelope { source, destination: IpAddr::from([224, 0, 0, 18]), hop_limit: 255 }
}

fn admit(filter: &Filter, advert: &Advert) -> Result<Option<Reject>, Reject> {
    filter.admit(advert, &from(vip(12)))
}

#[test]
fn an_advert_of_the_same_virtual_router_is_heeded_whatever_the_order_of_its_addresses() {
    for version in [Version::V2, Version::V3] {
        let mut advert = advert(version);
        assert_eq!(admit(&filter(version), &advert), Ok(None));
        advert.addresses.reverse();
        assert_eq!(admit(&filter(version), &advert), Ok(None));
    }
}

#[test]
fn what_was_forwarded_is_not_heeded_unless_asked_for() {
    let mut filter = filter(Version::V3);
    let far = Envelope { hop_limit: 64, ..from(vip(12)) };
    assert_eq!(filter.admit(&advert(Version::V3), &far), Err(Reject::HopLimit(64)));
    filter.check_hop_limit = false;
    assert_eq!(filter.admit(&advert(Version::V3), &far), Ok(None));
}

#[test]
fn another_id_version_or_source_is_rejected() {
    let filter = filter(Version::V3);
    assert_eq!(admit(&filter, &Advert { vrid: 52, ..advert(Version::V3) }), Err(Reject::UnknownVrid(52)));
    let version = Reject::Version { got: Version::V2, here: Version::V3 };
    assert_eq!(admit(&filter, &advert(Version::V2)), Err(version));
    assert_eq!(filter.admit(&advert(Version::V3), &from(vip(11))), Err(Reject::OwnSource(vip(11))));
}

#[test]
fn only_listed_peers_are_heeded_where_there_is_a_list() {
    let filter = Filter { peers: Some(vec![vip(12)]), ..filter(Version::V3) };
    assert_eq!(filter.admit(&advert(Version::V3), &from(vip(12))), Ok(None));
    assert_eq!(filter.admit(&advert(Version::V3), &from(vip(13))), Err(Reject::NotAPeer(vip(13))));
}

#[test]
fn authentication_must_be_the_same_in_kind_and_word() {
    let with = |authentication| Advert { authentication, ..advert(Version::V2) };
    let open = filter(Version::V2);
    let closed = Filter { authentication: Authentication::password("s3cr3t"), ..filter(Version::V2) };
    assert_eq!(admit(&closed, &with(Authentication::password("s3cr3t"))), Ok(None));
    assert_eq!(admit(&closed, &with(Authentication::password("S3cr3t"))), Err(Reject::Password));
    assert_eq!(admit(&closed, &with(Authentication::None)), Err(Reject::AuthenticationMismatch));
    assert_eq!(admit(&open, &with(Authentication::password("s3cr3t"))), Err(Reject::AuthenticationMismatch));
}

#[test]
fn only_version_2_insists_on_an_equal_interval() {
    let slow = |version| Advert { interval: interval(200), ..advert(version) };
    assert_eq!(
        admit(&filter(Version::V2), &slow(Version::V2)),
        Err(Reject::Interval { got_s: 2, here_s: 1 })
    );
    assert_eq!(admit(&filter(Version::V3), &slow(Version::V3)), Ok(None));
}

#[test]
fn another_address_list_is_rejected_except_from_a_version_2_owner_where_it_is_a_doubt() {
    for version in [Version::V2, Version::V3] {
        for addresses in [vec![vip(50)], vec![vip(50), vip(52)], vec![vip(50), vip(50)]] {
            let foreign = Advert { addresses, ..advert(version) };
            assert_eq!(admit(&filter(version), &foreign), Err(Reject::AddressList));
            let owners = Advert { priority: OWNER, ..foreign };
            let expected = match version {
                Version::V2 => Ok(Some(Reject::AddressList)),
                Version::V3 => Err(Reject::AddressList),
            };
            assert_eq!(admit(&filter(version), &owners), expected);
        }
    }
}

#[test]
fn two_owners_are_a_mistake_that_no_election_can_settle() {
    let owner = Filter { owner: true, ..filter(Version::V3) };
    assert_eq!(admit(&owner, &Advert { priority: OWNER, ..advert(Version::V3) }), Err(Reject::SecondOwner));
    assert_eq!(admit(&owner, &advert(Version::V3)), Ok(None));
}
