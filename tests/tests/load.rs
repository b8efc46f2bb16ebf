//! The load generator in a lab of its own: what it sent is what XDP counted, packet for packet.

#[path = "../examples/load/generator/mod.rs"]
mod generator;

use clap::Parser;
use generator::Options;
use sender_tests::skip::{require_root, skip};

fn run(test: &str, arguments: &str) -> Option<generator::Outcome> {
    if !require_root(test) {
        return None;
    }
    let arguments = ["load"].into_iter().chain(arguments.split_whitespace());
    let options = Options::try_parse_from(arguments).expect("the test's arguments are right");
    match generator::run(&options) {
        Ok(outcome) => Some(outcome),
        Err(error) if error.chain().any(|cause| cause.to_string().contains("no XDP program in it")) => {
            skip(test, &format!("{error:#}"));
            None
        }
        Err(error) if format!("{error:#}").starts_with("sending live frames") => {
            skip(test, &format!("{error:#}"));
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn all_that_a_thousand_clients_and_their_enemies_send_is_counted_for_what_it_is() {
    let test = "all_that_a_thousand_clients_and_their_enemies_send_is_counted_for_what_it_is";
    let mix = "--mix rr=50,join=20,leave=10,syn=5,hostile=15 --feedback 6001,6002 --group 239.192.0.1,239.192.0.2";
    let Some(outcome) = run(test, &format!("--clients 1000 --packets 12k --rate 10k {mix}")) else { return };
    assert_eq!(outcome.sent(), 12_000);
    assert_eq!(outcome.dropped(), 0);
    assert_eq!(outcome.counted(), Some(12_000));
    assert_eq!(outcome.differences(), []);
    // Among the hostile packets are reports that are right, though strange.
    assert!(outcome.noted() >= 1000, "{} receivers were noted", outcome.noted());
    assert!(outcome.is_accounted_for());
}

#[test]
fn clients_that_share_addresses_are_told_apart_by_port() {
    let test = "clients_that_share_addresses_are_told_apart_by_port";
    let few = "--from 10.1.0.0/30,10.2.0.0/29 --clients 600 --mix rr=1 --feedback 6001,6002";
    let Some(outcome) = run(test, &format!("{few} --packets 1800 --rate 5k")) else { return };
    assert_eq!((outcome.differences(), outcome.dropped()), (vec![], 0));
    assert_eq!(outcome.noted(), 600);
}

#[test]
fn what_the_kernel_sends_as_live_frames_is_counted_too() {
    let test = "what_the_kernel_sends_as_live_frames_is_counted_too";
    let mix = "--mix rr=2,join=1,leave=1,syn=1,hostile=3";
    let Some(outcome) = run(test, &format!("--live --clients 1024 --packets 300k {mix}")) else { return };
    assert_eq!(outcome.sent(), 300_000);
    assert_eq!((outcome.differences(), outcome.dropped()), (vec![], 0));
}
