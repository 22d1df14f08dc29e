//! A member that binary rows hold as JSON text, since its form is free or leaves out what is empty. In JSON it is what it
//! is.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize,
    S: Serializer,
{
    if serializer.is_human_readable() {
        return value.serialize(serializer);
    }
    serializer.serialize_str(&serde_json::to_string(value).map_err(S::Error::custom)?)
}

pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    if deserializer.is_human_readable() {
        return T::deserialize(deserializer);
    }
    serde_json::from_str(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::model::run::{EntityRequest, Mode, RunError};
    use serde_json::json;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Row {
        #[serde(with = "super")]
        errors: Vec<RunError>,
        request: EntityRequest,
    }

    #[test]
    fn a_binary_row_holds_text_and_json_the_thing_itself() {
        let error = RunError {
            code: "c".into(),
            message: "m".into(),
            page: None,
            record_id: None,
            at: String::new(),
        };
        let filters = Some(json!({ "status": ["Active"] }));
        let request = EntityRequest { entity: "e".into(), mode: Mode::Full, ids: vec![], filters };
        let row = Row { errors: vec![error], request };
        let binary = postcard::to_stdvec(&row).unwrap();
        assert_eq!(postcard::from_bytes::<Row>(&binary).unwrap(), row);
        let whole = serde_json::to_value(&row).unwrap();
        assert_eq!(whole["errors"], json!([{ "code": "c", "message": "m", "at": "" }]));
        assert_eq!(whole["request"]["filters"], json!({ "status": ["Active"] }));
        assert_eq!(serde_json::from_value::<Row>(whole).unwrap(), row);
    }
}
