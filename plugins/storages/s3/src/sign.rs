//! Signs requests (Signature Version 4, in headers), with the SHA-256 of what is sent as a part of what is signed.
//!
//! In headers, not in the URL: URLs get into messages and logs, and a signed one is a key for everyone who reads it.

use std::cell::OnceCell;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use freezer_sdk::error::{Context, Error, ErrorKind, Result};
use freezer_sdk::host::control;
use freezer_sdk::host::http::Field;
use freezer_sdk::settings::Settings;

use crate::place;

/// What is signed of a request besides the signer's own facts.
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [(&'a str, String)],
    /// Of what is sent, in lower-case hex.
    pub(crate) sha256: String,
}

/// An access key.
pub(crate) struct Signer {
    access_key: String,
    region: String,
    /// Asked of the host once: secrets aren't among the settings.
    credentials: OnceCell<Credentials>,
}

impl Signer {
    /// Asks for no secret yet.
    ///
    /// # Errors
    /// `invalid` for a region or access key that is none.
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let access_key = settings.text("access-key")?;
        if access_key.is_empty() || !access_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(
                "access-key: it is empty or holds what no access key does",
            ));
        }
        Ok(Signer {
            access_key: access_key.to_owned(),
            region: place::region(settings)?.to_owned(),
            credentials: OnceCell::new(),
        })
    }

    pub(crate) fn access_key(&self) -> &str {
        &self.access_key
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// The headers to add to a request; it is good for some minutes around `now`.
    ///
    /// # Errors
    /// Those of [`control::secret`]; `invalid` for what can't be signed.
    pub(crate) fn sign(&self, request: Unsigned<'_>, now: SystemTime) -> Result<Vec<Field>> {
        let mut settings = SigningSettings::default();
        // As S3 wants it: the URL as it is sent, and the digest in a header of its own.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        // The crate's messages are about the request, but it isn't ours to promise that they never quote the key.
        let unsignable = || Error::invalid(format!("can't sign {} {}", request.method, request.url));
        let identity = self.credentials()?.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now)
            .settings(settings)
            .build()
            .map_err(|_| unsignable())?
            .into();
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let body = SignableBody::Precomputed(request.sha256);
        let signable =
            SignableRequest::new(request.method, request.url, headers, body).map_err(|_| unsignable())?;
        let (signed, _) = sign(signable, &params).map_err(|_| unsignable())?.into_parts();
        let field = |(name, value): (&str, &str)| Field {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        Ok(signed.headers().map(field).collect())
    }

    fn credentials(&self) -> Result<&Credentials> {
        if let Some(credentials) = self.credentials.get() {
            return Ok(credentials);
        }
        let secret = control::secret("secret-key").context(|| "can't get the secret key")?;
        let token = match control::secret("session-token") {
            Ok(token) => Some(token.expose().to_owned()).filter(|token| !token.is_empty()),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error.context("can't get the session token")),
        };
        let credentials = Credentials::new(&self.access_key, secret.expose(), token, None, "settings");
        Ok(self.credentials.get_or_init(|| credentials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freezer_sdk::settings::SettingValue;
    use freezer_sdk::testing::FakeHost;
    use std::time::Duration;

    /// 2013-05-24T00:00:00Z, of the examples that the provider publishes ("Signature Calculations for the Authorization Header:
    /// Transferring Payload in a Single Chunk").
    const EXAMPLES: Duration = Duration::from_secs(1_369_353_600);
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const SCOPE: &str = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";

    fn signer(access_key: &str) -> Signer {
        let text = |text: &str| SettingValue::Text(text.into());
        Signer::new(&Settings::new([
            ("access-key", text(access_key)),
            ("region", text("us-east-1")),
        ]))
        .unwrap()
    }

    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.set_secret("secret-key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        host
    }

    /// The value of the `authorization` header.
    fn authorization(method: &str, path: &str, headers: &[(&str, String)], sha256: &str) -> String {
        let url = format!("https://examplebucket.s3.amazonaws.com{path}");
        let request = Unsigned {
            method,
            url: &url,
            headers,
            sha256: sha256.into(),
        };
        let signed = signer("AKIAIOSFODNN7EXAMPLE")
            .sign(request, SystemTime::UNIX_EPOCH + EXAMPLES)
            .unwrap();
        let value = |name: &str| {
            signed
                .iter()
                .find(|field| field.name == name)
                .unwrap()
                .value
                .clone()
        };
        assert_eq!(value("x-amz-date"), "20130524T000000Z");
        assert_eq!(value("x-amz-content-sha256"), sha256);
        value("authorization")
    }

    #[test]
    fn published_example_of_a_range() {
        let _host = host();
        assert_eq!(
            authorization("GET", "/test.txt", &[("range", "bytes=0-9".into())], EMPTY),
            format!(
                "{SCOPE}, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
                 Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            )
        );
    }

    #[test]
    fn published_example_of_a_put() {
        let _host = host();
        let headers = [
            ("date", "Fri, 24 May 2013 00:00:00 GMT".into()),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY".into()),
        ];
        assert_eq!(
            authorization(
                "PUT",
                "/test%24file.text",
                &headers,
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
            ),
            format!(
                "{SCOPE}, SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, \
                 Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
            )
        );
    }

    #[test]
    fn published_examples_of_queries() {
        let _host = host();
        let signed = |signature: &str| {
            format!("{SCOPE}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}")
        };
        assert_eq!(
            authorization("GET", "/?lifecycle=", &[], EMPTY),
            signed("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
        );
        assert_eq!(
            authorization("GET", "/?max-keys=2&prefix=J", &[], EMPTY),
            signed("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
        );
    }

    #[test]
    fn a_session_token_is_sent_and_signed_in_a_header() {
        let host = host();
        host.set_secret("session-token", "TOKEN");
        let request = Unsigned {
            method: "GET",
            url: "https://b.s3.amazonaws.com/",
            headers: &[],
            sha256: EMPTY.into(),
        };
        let signed = signer("AK")
            .sign(request, SystemTime::UNIX_EPOCH + EXAMPLES)
            .unwrap();
        assert!(
            signed
                .iter()
                .any(|field| field.name == "x-amz-security-token" && field.value == "TOKEN")
        );
        let authorization = signed.iter().find(|field| field.name == "authorization").unwrap();
        assert!(
            authorization.value.contains("x-amz-security-token"),
            "{}",
            authorization.value
        );
    }

    #[test]
    fn secrets_are_asked_for_once() {
        let host = host();
        let signer = signer("AK");
        for _ in 0..2 {
            let request = Unsigned {
                method: "GET",
                url: "https://b/",
                headers: &[],
                sha256: EMPTY.into(),
            };
            signer.sign(request, SystemTime::UNIX_EPOCH).unwrap();
        }
        assert_eq!(
            host.calls()
                .iter()
                .filter(|call| call.name == "control.secret")
                .count(),
            2
        );
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        for access_key in ["", "a b", "a\nb", "kéy"] {
            let text = |text: &str| SettingValue::Text(text.into());
            let settings = Settings::new([("access-key", text(access_key)), ("region", text("r"))]);
            assert_eq!(
                Signer::new(&settings).map(|_| ()).unwrap_err().kind,
                ErrorKind::Invalid
            );
        }
    }
}
