//! What is negotiated, read from both ends of a handshake, and who is refused.

use ate_crypto::{Identity, Seed, SeededRandom};
use parking_lot::Mutex;
use rustls::quic::{ClientConnection, Connection, ServerConnection, Version};
use rustls::{CipherSuite, NamedGroup, PeerIncompatible};

use super::*;

fn key(number: u64) -> NodeKey {
    Identity::from_seed(&Seed::generate(&SeededRandom::new(number))).node_key()
}

fn node(key: &NodeKey) -> NodeId {
    NodeId::of_key(key.public_bytes())
}

fn ours() -> Arc<CryptoProvider> {
    Arc::new(provider().expect("the provider has all"))
}

fn dial(provider: Arc<CryptoProvider>, node: NodeId) -> rustls::ClientConfig {
    client(provider, Some(node), Arc::default()).expect("the provider has all")
}

/// A handshake as QUIC carries it, until both are done or one gives up.
fn shake(
    client: rustls::ClientConfig,
    server: rustls::ServerConfig,
) -> Result<(Connection, Connection), Error> {
    let name = ServerName::try_from(SERVER_NAME).expect("a name");
    let client = ClientConnection::new(Arc::new(client), Version::V1, name, b"client".to_vec())?;
    let server = ServerConnection::new(Arc::new(server), Version::V1, b"server".to_vec())?;
    let mut ends = [Connection::Client(client), Connection::Server(server)];
    for _ in 0..4 {
        for from in [0, 1] {
            // What is under different keys is read in pieces.
            loop {
                let mut bytes = Vec::new();
                let change = ends[from].write_hs(&mut bytes);
                ends[1 - from].read_hs(&bytes)?;
                if change.is_none() {
                    break;
                }
            }
        }
    }
    let [client, server] = ends;
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

/// Notes with which scheme the node signed.
#[derive(Debug)]
struct Noting {
    inner: OneNode,
    scheme: Arc<Mutex<Option<SignatureScheme>>>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        *self.scheme.lock() = Some(dss.scheme);
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }
}

#[test]
fn key_exchange_and_authentication_are_both_post_quantum() {
    let key = key(1);
    let scheme = Arc::default();
    let mut config = dial(ours(), node(&key));
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(Noting {
            inner: OneNode {
                node: Some(node(&key)),
                algorithms: ours().signature_verification_algorithms,
                answered: Arc::default(),
            },
            scheme: Arc::clone(&scheme),
        }));
    let (dialler, node) = shake(config, server(ours(), &key).unwrap()).unwrap();
    for end in [&dialler, &node] {
        let group = end.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
        let suite = end.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert_eq!(end.alpn_protocol(), Some(PROTOCOL));
    }
    assert_eq!(*scheme.lock(), Some(SignatureScheme::ML_DSA_65));
    let shown = dialler.peer_certificates().unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].as_ref(), key.public_bytes());
    assert!(node.peer_certificates().is_none());
    let Connection::Client(dialler) = dialler else {
        panic!("the first one is the client");
    };
    assert_eq!(dialler.tls13_tickets_received(), 0, "nothing to resume");
}

#[test]
fn nothing_but_the_two_is_offered() {
    let provider = provider().unwrap();
    let groups: Vec<_> = provider
        .kx_groups
        .iter()
        .map(|group| group.name())
        .collect();
    assert_eq!(groups, [NamedGroup::X25519MLKEM768]);
    let algorithms = &provider.signature_verification_algorithms;
    assert_eq!(algorithms.supported_schemes(), [SignatureScheme::ML_DSA_65]);
    assert_eq!(algorithms.all.len(), 1);
}

#[test]
fn another_node_is_refused_and_told_apart() {
    let answered = Arc::<Answered>::default();
    let config = client(ours(), Some(node(&key(2))), Arc::clone(&answered)).unwrap();
    assert_eq!(answered.who(), None);
    let refused = shake(config, server(ours(), &key(1)).unwrap()).err();
    let why = CertificateError::ApplicationVerificationFailure;
    assert_eq!(refused, Some(Error::InvalidCertificate(why)));
    assert_eq!(answered.who(), Some(node(&key(1))));
}

#[test]
fn who_answers_can_be_found_out_and_must_have_signed_all_the_same() {
    let answered = Arc::<Answered>::default();
    let config = client(ours(), None, Arc::clone(&answered)).unwrap();
    assert!(shake(config, server(ours(), &key(1)).unwrap()).is_ok());
    assert_eq!(answered.who(), Some(node(&key(1))));

    let (shown, own) = (key(1), key(2));
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.expose_pkcs8()));
    let signing = sign::any_supported_type(&private).unwrap();
    let public = CertificateDer::from(shown.public_bytes().to_vec());
    let mut config = server(ours(), &own).unwrap();
    let certified = Arc::new(CertifiedKey::new(vec![public], signing));
    config.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified));
    assert!(shake(client(ours(), None, Arc::default()).unwrap(), config).is_err());
}

/// Shows the public key of one node and signs with that of another.
#[test]
fn a_shown_key_must_have_signed() {
    let (shown, own) = (key(1), key(2));
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.expose_pkcs8()));
    let signing = sign::any_supported_type(&private).unwrap();
    let public = CertificateDer::from(shown.public_bytes().to_vec());
    let certified = CertifiedKey::new(vec![public], signing);
    let mut config = server(ours(), &own).unwrap();
    config.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified)));
    let refused = shake(dial(ours(), node(&shown)), config).err();
    assert!(
        matches!(
            refused,
            Some(Error::InvalidCertificate(CertificateError::BadSignature))
        ),
        "{refused:?}"
    );
}

#[test]
fn a_client_with_classical_key_exchange_alone_is_refused() {
    let key = key(1);
    for group in [kx_group::X25519, kx_group::SECP256R1, kx_group::MLKEM768] {
        let other = CryptoProvider {
            kx_groups: vec![group],
            ..provider().unwrap()
        };
        let config = dial(Arc::new(other), node(&key));
        let refused = shake(config, server(ours(), &key).unwrap()).err();
        let why = PeerIncompatible::NoKxGroupsInCommon;
        assert_eq!(refused, Some(Error::PeerIncompatible(why)), "{group:?}");
    }
}

#[test]
fn a_node_with_classical_key_exchange_alone_is_refused() {
    let key = key(1);
    let other = CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..provider().unwrap()
    };
    let config = server(Arc::new(other), &key).unwrap();
    assert!(shake(dial(ours(), node(&key)), config).is_err());
}

#[test]
fn a_node_with_a_classical_key_is_refused_even_if_it_is_the_one_meant() {
    // PKCS#8 of an Ed25519 key (RFC 8410, section 7).
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65,
    ];
    der.extend([0x70, 0x04, 0x22, 0x04, 0x20]);
    der.extend([9; 32]);
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
    let signing = sign::any_supported_type(&private).unwrap();
    let public = signing.public_key().unwrap().to_vec();
    let expected = NodeId::of_key(&public);
    let certified = CertifiedKey::new(vec![CertificateDer::from(public)], signing);
    let mut config = server(Arc::new(default_provider()), &key(1)).unwrap();
    config.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified)));
    let refused = shake(dial(ours(), expected), config).err();
    let why = PeerIncompatible::NoSignatureSchemesInCommon;
    assert_eq!(refused, Some(Error::PeerIncompatible(why)));
}

#[test]
fn another_protocol_is_refused() {
    let key = key(1);
    let mut config = dial(ours(), node(&key));
    config.alpn_protocols = vec![b"ate/2".to_vec()];
    let refused = shake(config, server(ours(), &key).unwrap()).err();
    assert_eq!(refused, Some(Error::NoApplicationProtocol));
    let mut config = dial(ours(), node(&key));
    config.alpn_protocols.clear();
    let refused = shake(config, server(ours(), &key).unwrap()).err();
    assert!(refused.is_some(), "QUIC must name a protocol");
}

#[test]
fn garbage_is_refused() {
    let mut end = ServerConnection::new(
        Arc::new(server(ours(), &key(1)).unwrap()),
        Version::V1,
        Vec::new(),
    )
    .unwrap();
    let refused = end.read_hs(&[0xff; 100]).err();
    assert!(
        matches!(
            refused,
            None | Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. })
        ),
        "{refused:?}"
    );
    assert!(end.is_handshaking());
}
