//! Round trips, canonical forms, and what is refused with which words.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const NODE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const ROOT: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const ID: &str = "3333333333333333333333333333333333333333333333333333333333333333";

fn node(text: &str) -> Result<String, AddressError> {
    text.parse::<NodeAddress>()
        .map(|address| address.to_string())
}

fn chain(text: &str) -> Result<String, AddressError> {
    text.parse::<ChainAddress>()
        .map(|address| address.to_string())
}

#[test]
fn the_parts_of_an_address_are_found() {
    let text =
        format!("ate://{NODE}@Host.Example:5000/ate-key:{ROOT}/my%20chain%2fof%20%C3%A9?id={ID}");
    let address: ChainAddress = text.parse().unwrap();
    assert_eq!(address.node().host(), "host.example");
    assert_eq!(address.node().port(), 5000);
    assert_eq!(address.node().node(), Some(NodeId(Hash([0x11; 32]))));
    assert_eq!(address.root(), Some(KeyId([0x22; 32])));
    assert_eq!(address.name(), "my chain/of é");
    assert_eq!(address.id(), Some(ChainId(Hash([0x33; 32]))));
    assert_eq!(
        address.to_string(),
        format!("ate://{NODE}@host.example:5000/{ROOT}/my%20chain%2Fof%20%C3%A9?id={ID}")
    );
}

#[test]
fn addresses_have_one_printed_form() {
    for (text, printed) in [
        ("ate://h", "ate://h:4433"),
        ("ate://h/", "ate://h:4433"),
        ("ate://LOCALHOST:1", "ate://localhost:1"),
        ("ate://127.0.0.1:65535", "ate://127.0.0.1:65535"),
        ("ate://[::1]", "ate://[::1]:4433"),
        ("ate://[2001:DB8:0:0::1]:7", "ate://[2001:db8::1]:7"),
        ("ate://a_b.c-d:9", "ate://a_b.c-d:9"),
    ] {
        assert_eq!(node(text).as_deref(), Ok(printed), "{text}");
    }
    for (text, printed) in [
        ("ate://h/c", "ate://h:4433/c"),
        ("ate://h/a:b@c", "ate://h:4433/a%3Ab%40c"),
        ("ate://h/%61", "ate://h:4433/a"),
    ] {
        assert_eq!(chain(text).as_deref(), Ok(printed), "{text}");
    }
}

#[test]
fn an_address_without_a_node_id_leaves_the_key_open() {
    let address: NodeAddress = "ate://host".parse().unwrap();
    assert_eq!(address.node(), None);
    let named = address.clone().with_node(Some(NodeId(Hash([1; 32]))));
    assert_ne!(address, named);
    assert_eq!(address.host_port(), named.host_port());
    assert_eq!(NodeAddress::from_host_port("HOST").unwrap(), address);
}

#[test]
fn what_is_wrong_is_told_apart() {
    let long = format!("ate://h/{}", "a".repeat(ADDRESS_BYTES_MAX));
    let name = format!("ate://h/{}", "a".repeat(CHAIN_NAME_BYTES_MAX + 1));
    let short = format!("ate://{}@h/c", &NODE[1..]);
    let pin = format!("ate://h/c?id={}", &ID[1..]);
    let deep = format!("ate://h/{ROOT}/a/b");
    let host = format!("ate://{}/c", "a".repeat(64));
    for (text, kind) in [
        ("", "Scheme"),
        ("http://h/c", "Scheme"),
        ("ATE://h/c", "Scheme"),
        (" ate://h/c", "Scheme"),
        (&long, "TooLong"),
        (&short, "Node"),
        ("ate://@h/c", "Node"),
        ("ate:///c", "Host"),
        ("ate://::1/c", "Host"),
        ("ate://[::1/c", "Host"),
        ("ate://[::1]x/c", "Host"),
        ("ate://[fe80::1%eth0]/c", "Host"),
        ("ate://[127.0.0.1]/c", "Host"),
        ("ate://127.1/c", "Host"),
        ("ate://0x7f000001/c", "Host"),
        ("ate://127.0.0.256/c", "Host"),
        ("ate://h./c", "Host"),
        ("ate://-h/c", "Host"),
        ("ate://hé/c", "Host"),
        ("ate://h h/c", "Host"),
        ("ate://h\0/c", "Host"),
        (&host, "Host"),
        ("ate://h:/c", "Port"),
        ("ate://h:0/c", "Port"),
        ("ate://h:+1/c", "Port"),
        ("ate://h:01/c", "Port"),
        ("ate://h:65536/c", "Port"),
        ("ate://h", "ChainMissing"),
        ("ate://h/", "ChainMissing"),
        ("ate://h?id=1", "ChainMissing"),
        ("ate://h/a/b", "Root"),
        ("ate://h//b", "Root"),
        (&deep, "Path"),
        ("ate://h/a b", "Character"),
        ("ate://h/é", "Character"),
        ("ate://h/a#b", "Character"),
        ("ate://h/%", "Name"),
        ("ate://h/%4", "Name"),
        ("ate://h/%zz", "Name"),
        ("ate://h/%00", "Name"),
        ("ate://h/%FF", "Name"),
        (&name, "Name"),
        (&pin, "Query"),
        ("ate://h/c?", "Query"),
        ("ate://h/c?x=1", "Query"),
    ] {
        let error = chain(text).expect_err(text);
        let told = format!("{error:?}");
        assert!(told.starts_with(kind), "{text} is {told}, not {kind}");
        assert!(!error.remedy().is_empty());
        assert!(error.to_string().len() < 1200, "{error}");
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
    }
    assert!(matches!(
        node("ate://h/c"),
        Err(AddressError::ChainGiven { .. })
    ));
    assert_eq!(
        chain("ate://h/a b").unwrap_err().to_string(),
        "`a b` holds a character that an address writes as `%20`"
    );
}

/// Hosts in their canonical form.
fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9_]{0,10}(-[a-z0-9]{1,10})?(\\.[a-z]{1,8}){0,3}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_as_the_same(
        host in hosts(),
        port in 1u16..,
        node in any::<Option<[u8; 32]>>(),
        root in any::<Option<[u8; 32]>>(),
        id in any::<Option<[u8; 32]>>(),
        name in "[^\\p{Cc}]{1,60}",
    ) {
        let node = NodeAddress::new(&host, port, node.map(|id| NodeId(Hash(id)))).unwrap();
        let address = ChainAddress::new(node.clone(), root.map(KeyId), name, id.map(|id| ChainId(Hash(id)))).unwrap();
        let text = address.to_string();
        prop_assert!(text.is_ascii() && text.len() <= ADDRESS_BYTES_MAX);
        prop_assert_eq!(text.parse::<ChainAddress>().unwrap(), address);
        prop_assert_eq!(node.to_string().parse::<NodeAddress>().unwrap(), node.clone());
        prop_assert_eq!(NodeAddress::from_host_port(&node.host_port()).unwrap(), node.with_node(None));
    }

    #[test]
    fn what_parses_prints_canonically(text in "ate://([0-9a-f]{64}@)?[a-zA-Z0-9:.\\[\\]-]{1,12}(:[0-9]{0,5})?/[a-z%0-9/?=]{0,20}") {
        if let Ok(address) = text.parse::<ChainAddress>() {
            let printed = address.to_string();
            prop_assert_eq!(printed.parse::<ChainAddress>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn any_text_gives_an_address_or_an_error(text in ".{0,200}", tail in "\\PC{0,100}") {
        for text in [text.clone(), format!("ate://{text}"), format!("ate://h/{tail}"), format!("ate://h/c?{tail}")] {
            for error in [chain(&text).err(), node(&text).err()].into_iter().flatten() {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}
