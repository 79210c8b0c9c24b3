//! What may be spoken in a handshake: TLS 1.3 with one post-quantum key exchange and one post-quantum signature, and no way around either.

use std::sync::{Arc, OnceLock};

use ate_crypto::NodeKey;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group, sign};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::node_id::NodeId;
use crate::transport::TransportError;

/// The one application protocol (ALPN).
const PROTOCOL: &[u8] = b"ate/1";
/// The one signature scheme (draft-ietf-tls-mldsa, code point 0x0905).
const SCHEME: SignatureScheme = SignatureScheme::ML_DSA_65;
/// Name that dialling gives to the library. It is never sent: who answers is known by its key.
pub(super) const SERVER_NAME: &str = "ate";

/// X25519MLKEM768 alone, ML-DSA-65 alone, and ciphers with keys of 256 bits.
///
/// # Errors
/// The provider was built without one of them.
pub(super) fn provider() -> Result<CryptoProvider, TransportError> {
    let base = default_provider();
    let mapping = base.signature_verification_algorithms.mapping;
    let only = mapping.iter().position(|(scheme, _)| *scheme == SCHEME);
    let only = only.ok_or_else(|| unusable("the provider has no ML-DSA-65"))?;
    Ok(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768],
        signature_verification_algorithms: WebPkiSupportedAlgorithms {
            all: mapping[only].1,
            mapping: &mapping[only..=only],
        },
        ..base
    })
}

/// The suite of the first packets, which RFC 9001 fixes and which hides nothing: anybody has its key.
fn initial_suite() -> Result<rustls::quic::Suite, TransportError> {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let suite = suite.and_then(rustls::Tls13CipherSuite::quic_suite);
    suite.ok_or_else(|| unusable("the provider has no QUIC"))
}

/// What a dialler found out about who answered.
#[derive(Debug, Default)]
pub(super) struct Answered(OnceLock<NodeId>);

impl Answered {
    /// The key that it showed. Once the handshake is complete, it has proven to hold it.
    pub(super) fn who(&self) -> Option<NodeId> {
        self.0.get().copied()
    }
}

/// The configuration of one dial: only `node` is accepted, or, to find out who answers, whoever proves a key of the one kind. No resumption, so each handshake proves the key anew, and no early data.
///
/// # Errors
/// The provider lacks something.
pub(super) fn client(
    provider: Arc<CryptoProvider>,
    node: Option<NodeId>,
    answered: Arc<Answered>,
) -> Result<rustls::ClientConfig, TransportError> {
    let check = OneNode {
        node,
        algorithms: provider.signature_verification_algorithms,
        answered,
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unusable(&error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(config)
}

/// The configuration of a node that answers with `key`. It asks for no certificate, gives no tickets, takes no early data.
///
/// # Errors
/// The provider lacks something.
pub(super) fn server(
    provider: Arc<CryptoProvider>,
    key: &NodeKey,
) -> Result<rustls::ServerConfig, TransportError> {
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose_pkcs8()));
    let signing =
        sign::any_supported_type(&private).map_err(|error| unusable(&error.to_string()))?;
    let public = CertificateDer::from(key.public_bytes().to_vec());
    let certified = Arc::new(CertifiedKey::new(vec![public], signing));
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unusable(&error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

pub(super) fn quic_client(
    config: rustls::ClientConfig,
) -> Result<QuicClientConfig, TransportError> {
    QuicClientConfig::with_initial(Arc::new(config), initial_suite()?)
        .map_err(|error| unusable(&error.to_string()))
}

pub(super) fn quic_server(
    config: rustls::ServerConfig,
) -> Result<QuicServerConfig, TransportError> {
    QuicServerConfig::with_initial(Arc::new(config), initial_suite()?)
        .map_err(|error| unusable(&error.to_string()))
}

fn unusable(why: &str) -> TransportError {
    TransportError::Unusable {
        why: why.to_owned(),
    }
}

/// Accepts the raw public key of one node, or any.
#[derive(Debug)]
struct OneNode {
    node: Option<NodeId>,
    algorithms: WebPkiSupportedAlgorithms,
    answered: Arc<Answered>,
}

impl ServerCertVerifier for OneNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = NodeId::of_key(end_entity);
        // One dial has one handshake.
        let _ = self.answered.0.set(shown);
        if self.node.is_none_or(|node| node == shown) {
            return Ok(ServerCertVerified::assertion());
        }
        let why = CertificateError::ApplicationVerificationFailure;
        Err(Error::InvalidCertificate(why))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
