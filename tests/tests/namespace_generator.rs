//! The generator, the balancer and the sink count the same packets, and see when they do not.

use anyhow::Result;
use lb_common::abi::Reason;
use lb_user::state::VipKey;
use tests::bench::balancer::{BACKENDS, Balancer, GUE4, L2, connection_id};
use tests::bench::contestants::{Contestant, Who};
use tests::bench::generator::socket::{Sender, Stream};
use tests::bench::generator::{Bed, Extent, Family, Offered, Size, Source, Spread, Traffic};
use tests::lab::privileged;
use tests::map_contents::shared;
use tests::world::rules;

/// Of each of two cores.
const PACKETS: u32 = 20_000;
const CORES: [usize; 2] = [0, 1];

#[test]
fn generator_balancer_and_sink_agree() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    assert_eq!(bed.source(), Source::Live);
    let mut balancer = Contestant::start(&mut bed, Who::Ferrolev, 0)?;
    for offered in offers() {
        let counts = balancer.run(&mut bed, &offered, &CORES, Extent::Packets(PACKETS))?;
        assert_eq!(counts.made_packets(), 2 * u64::from(PACKETS), "{offered:?}");
        let backends: Vec<u8> = counts.arrived.keys().copied().collect();
        if offered.traffic == Traffic::Quic {
            assert_eq!(backends, [77], "{offered:?}");
        } else {
            assert_eq!(backends, (1..=BACKENDS).collect::<Vec<_>>(), "{offered:?}");
        }
    }
    // Many flows are spread evenly; of few flows by Zipf's law one has the most.
    let uniform = Offered { flows: 1 << 20, ..Offered::new(Family::V4, Traffic::Ack) };
    let zipf = Offered { spread: Spread::Zipf(1.5), ..uniform.clone() };
    let mut most = |offered| {
        let counts = balancer.run(&mut bed, offered, &CORES, Extent::Packets(PACKETS))?;
        let most = counts.arrived.values().map(|arrived| arrived.packets).max().unwrap_or(0);
        anyhow::Ok(most as f64 / counts.arrived_packets() as f64)
    };
    let (uniform, zipf) = (most(&uniform)?, most(&zipf)?);
    assert!(uniform < 0.02 && zipf > 0.3, "{uniform} {zipf}");
    Ok(())
}

fn offers() -> Vec<Offered> {
    let of = Offered::new;
    let all = [Traffic::Syn, Traffic::Ack, Traffic::Mixed, Traffic::Udp];
    let mut offers: Vec<_> =
        all.iter().flat_map(|traffic| [of(Family::V4, *traffic), of(Family::V6, *traffic)]).collect();
    for family in [Family::V4, Family::V6] {
        offers.push(Offered { connection_id: connection_id(77), ..of(family, Traffic::Quic) });
        offers.push(Offered { size: Size::Imix, timed: true, ..of(family, Traffic::Udp) });
    }
    offers.push(Offered { vip: GUE4.into(), ..of(Family::V4, Traffic::Ack) });
    offers.push(Offered { vip: L2.into(), size: Size::Frame(1514), ..of(Family::V4, Traffic::Ack) });
    offers
}

#[test]
fn the_kernel_makes_the_packets_that_the_host_makes() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    for offered in offers().into_iter().filter(|offered| !offered.timed) {
        for kernel in bed.samples(&offered, 50)? {
            let offer = offered.offer(1)?;
            // Which core and which packet it was are in the stamp.
            let at = 14 + offer.to_stamp as usize;
            let sequence = u32::from_le_bytes(kernel[at..at + 4].try_into()?);
            let stream = u16::from_le_bytes(kernel[at + 4..at + 6].try_into()?);
            let mut host = Stream::new(&offer, &[], stream);
            let host = host.next(64)?.nth(sequence as usize).map(<[u8]>::to_vec);
            assert_eq!(Some(kernel), host, "{offered:?}");
        }
    }
    Ok(())
}

#[test]
fn what_the_balancer_drops_is_missed() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    let lane = bed.lane("lossy")?;
    let offered = Offered::new(Family::V4, Traffic::Ack);
    let vip: VipKey = offered.vip_key().parse()?;
    let mut balancer = Balancer::start_with(&lane, |world| {
        // One half of the clients.
        let vip = world.desired.vips.get_mut(&vip).expect("the vip");
        vip.options.access = rules(&[], &["10.0.128.0/17"]);
    })?;
    let counts = bed.run(&lane, &offered, &CORES, Extent::Packets(PACKETS))?;
    assert!(counts.complete().is_err(), "{counts:?}");
    assert_eq!(counts.lost(), balancer.stopped(Reason::AccessDenied)?);
    assert_eq!((counts.broken, counts.late), (0, 0));
    assert!((0.45..0.55).contains(&counts.loss()), "{}", counts.loss());
    // Those that the last packets of a stream are missed behind are not counted as skipped.
    assert!(counts.skipped <= counts.lost() && counts.skipped + 100 > counts.lost(), "{counts:?}");
    Ok(())
}

#[test]
fn packets_out_of_order_are_counted() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    let lane = bed.lane("order")?;
    let offered = Offered::new(Family::V4, Traffic::Udp);
    let offer = bed.listen(&offered, 1)?;
    let mut stream = Stream::new(&offer, &[], 3);
    let mut frames: Vec<Vec<u8>> = stream.next(8)?.map(<[u8]>::to_vec).collect();
    // Straight to the sink: 0 1 3 2 4 7 6, and never 5.
    frames.swap(2, 3);
    frames.swap(5, 7);
    frames.truncate(7);
    frames.iter_mut().for_each(|frame| frame[5] = 42);
    let sender = Sender::open(&lane.namespace, "eth0")?;
    sender.send(frames.iter().map(Vec::as_slice))?;
    // One that was bent on the way.
    let mut bent = frames[0].clone();
    bent[14] = 0x46;
    sender.send([bent.as_slice()])?;
    let counts = bed.counts()?;
    assert_eq!(counts.arrived.keys().copied().collect::<Vec<_>>(), [42]);
    assert_eq!((counts.arrived_packets(), counts.broken), (7, 1));
    assert_eq!((counts.skipped, counts.late), (1 + 2, 2));
    Ok(())
}

#[test]
fn sockets_offer_the_same_packets() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    bed.make_by(Source::Socket);
    let mut balancer = Contestant::start(&mut bed, Who::Ferrolev, 0)?;
    for (family, rate) in [(Family::V4, None), (Family::V6, Some(20_000.0))] {
        let offered = Offered { timed: true, rate, ..Offered::new(family, Traffic::Udp) };
        let counts = balancer.run(&mut bed, &offered, &[1], Extent::Packets(2000))?;
        assert_eq!((counts.made_packets(), counts.latencies.packets()), (2000, 2000));
    }
    Ok(())
}

#[test]
fn the_kernel_forwards_what_is_offered() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    for who in [Who::Forward, Who::Dnat] {
        let mut kernel = Contestant::start(&mut bed, who, 0)?;
        for (family, traffic) in [
            (Family::V4, Traffic::Ack),
            (Family::V6, Traffic::Ack),
            (Family::V4, Traffic::Udp),
            (Family::V6, Traffic::Quic),
        ] {
            let offered = Offered { flows: 4096, rate: Some(50_000.0), ..Offered::new(family, traffic) };
            let counts = kernel.run(&mut bed, &offered, &[1], Extent::Packets(5000))?;
            assert!(counts.loss() < 0.1, "{who:?} {family:?} {traffic:?}: {counts:?}");
            let backends = counts.arrived.len();
            assert_eq!(
                backends,
                if who == Who::Forward { 1 } else { BACKENDS.into() },
                "{who:?} {traffic:?}"
            );
        }
    }
    Ok(())
}

/// By design: in steady state the program writes nothing that two cores share.
#[test]
fn steady_traffic_of_two_cores_changes_no_map_that_they_share() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut bed = Bed::new()?;
    let lane = bed.lane("steady")?;
    let balancer = Balancer::start(&lane)?;
    let program = balancer.kernel().program();
    let before = shared(program)?;
    for name in ["DIRECTORY", "RINGS", "DESTS"] {
        assert!(before.contains_key(name), "{name}: {:?}", before.keys());
    }
    for offered in offers() {
        bed.run(&lane, &offered, &CORES, Extent::Packets(50_000))?.complete()?;
    }
    let after = shared(program)?;
    eprintln!("compared: {:?}", before.keys());
    for (name, contents) in &before {
        assert!(after[name] == *contents, "{name} has changed");
    }
    Ok(())
}
