//! Messages of the contract in protobuf's JSON form, as `grpcurl -d` takes it, for any message that requests have.
//!
//! The descriptors say what a message looks like, so that a new operation needs nothing here. Source of the form: the
//! ProtoJSON page of protobuf's documentation. Bytes, floats, maps and the well-known types have forms of their own, and no
//! request of the contract has them; they are refused.

use prost::{
    Message,
    encoding::{self, WireType},
};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use serde_json::Value;

const PACKAGE: &str = "ramfacade.v1";

/// Encodes the message `name` of the contract, for instance `CreateResourceShareRequest`, from its JSON form.
///
/// # Errors
/// The first member that does not fit: its path, what is wrong, and what would be right.
pub fn encode(name: &str, json: &Value) -> Result<Vec<u8>, String> {
    let set = FileDescriptorSet::decode(super::DESCRIPTOR_SET)
        .map_err(|e| format!("the contract of this build is broken: {e}"))?;
    let mut bytes = Vec::new();
    Contract(&set).message(&format!(".{PACKAGE}.{name}"), json, "request", &mut bytes)?;
    Ok(bytes)
}

struct Contract<'a>(&'a FileDescriptorSet);

impl Contract<'_> {
    fn find_message(&self, full_name: &str) -> Option<&DescriptorProto> {
        let name = full_name.strip_prefix(&format!(".{PACKAGE}."))?;
        let ours = self.0.file.iter().filter(|file| file.package() == PACKAGE);
        ours.flat_map(|file| &file.message_type)
            .find(|m| m.name() == name)
    }

    fn find_enum(&self, full_name: &str) -> Option<&EnumDescriptorProto> {
        let name = full_name.strip_prefix(&format!(".{PACKAGE}."))?;
        let ours = self.0.file.iter().filter(|file| file.package() == PACKAGE);
        ours.flat_map(|file| &file.enum_type).find(|e| e.name() == name)
    }

    fn message(&self, name: &str, json: &Value, path: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let message = self
            .find_message(name)
            .ok_or_else(|| format!("{path}: `{name}` has no JSON form here"))?;
        let Value::Object(members) = json else {
            return Err(format!("{path} must be an object"));
        };
        for (key, value) in members {
            let field = message
                .field
                .iter()
                .find(|f| f.name() == key || f.json_name() == key);
            let Some(field) = field else {
                let known: Vec<_> = message.field.iter().map(FieldDescriptorProto::name).collect();
                return Err(format!(
                    "{path} has no member `{key}`; it has {}",
                    known.join(", ")
                ));
            };
            self.field(field, value, &format!("{path}.{key}"), out)?;
        }
        Ok(())
    }

    fn field(
        &self,
        field: &FieldDescriptorProto,
        json: &Value,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match (json, field.label()) {
            (Value::Null, _) => Ok(()),
            (Value::Array(items), Label::Repeated) => items
                .iter()
                .enumerate()
                .try_for_each(|(i, item)| self.value(field, item, &format!("{path}[{i}]"), out)),
            (_, Label::Repeated) => Err(format!("{path} must be a list")),
            _ => self.value(field, json, path, out),
        }
    }

    fn value(
        &self,
        field: &FieldDescriptorProto,
        json: &Value,
        path: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let tag = field.number().unsigned_abs();
        match (field.r#type(), json) {
            (Type::String, Value::String(text)) => encoding::string::encode(tag, text, out),
            (Type::String, _) => return Err(format!("{path} must be a text")),
            (Type::Bool, Value::Bool(flag)) => encoding::bool::encode(tag, flag, out),
            (Type::Bool, _) => return Err(format!("{path} must be true or false")),
            (Type::Int32, Value::Number(number)) => {
                let number = number.as_i64().and_then(|n| i32::try_from(n).ok());
                let number = number.ok_or_else(|| format!("{path} must be a number of 32 bits"))?;
                encoding::int32::encode(tag, &number, out);
            }
            (Type::Int32, _) => return Err(format!("{path} must be a number")),
            (Type::Enum, Value::String(name)) => {
                let known = self.find_enum(field.type_name());
                let values = known.map(|e| e.value.as_slice()).unwrap_or_default();
                let value = values.iter().find(|v| v.name() == name);
                let value = value.ok_or_else(|| {
                    let names: Vec<_> = values
                        .iter()
                        .map(prost_types::EnumValueDescriptorProto::name)
                        .collect();
                    format!("{path} must be one of {}", names.join(", "))
                })?;
                encoding::int32::encode(tag, &value.number(), out);
            }
            (Type::Enum, _) => return Err(format!("{path} must be the name of a value")),
            (Type::Message, _) => {
                let mut inner = Vec::new();
                self.message(field.type_name(), json, path, &mut inner)?;
                encoding::encode_key(tag, WireType::LengthDelimited, out);
                encoding::encode_varint(inner.len() as u64, out);
                out.extend(inner);
            }
            _ => return Err(format!("{path} is of a type that has no JSON form here")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pb::v1::{
        CreateResourceShareRequest, ListResourceTypesRequest, ResourceRegionScopeFilter,
        ResourceShareConfiguration, Tag,
    };

    #[test]
    fn a_request_is_what_its_json_says_in_either_spelling() {
        let json = json!({
            "name": "network-prod",
            "resource_arns": ["a", "b"],
            "permissionArns": ["p"],
            "tags": [{"key": "team", "value": "network"}, {"key": "empty"}],
            "allow_external_principals": false,
            "resourceShareConfiguration": {"retain_sharing_on_account_leave_organization": true},
            "clientToken": null,
        });

        let bytes = encode("CreateResourceShareRequest", &json).unwrap();

        let tag = |key: &str, value: &str| Tag {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let expected = CreateResourceShareRequest {
            name: "network-prod".to_owned(),
            resource_arns: vec!["a".to_owned(), "b".to_owned()],
            permission_arns: vec!["p".to_owned()],
            tags: vec![tag("team", "network"), tag("empty", "")],
            allow_external_principals: Some(false),
            resource_share_configuration: Some(ResourceShareConfiguration {
                retain_sharing_on_account_leave_organization: Some(true),
            }),
            ..CreateResourceShareRequest::default()
        };
        assert_eq!(CreateResourceShareRequest::decode(bytes.as_slice()), Ok(expected));
    }

    #[test]
    fn numbers_and_values_of_enums_are_read() {
        let json = json!({"max_results": 7, "resource_region_scope": "RESOURCE_REGION_SCOPE_FILTER_GLOBAL"});

        let bytes = encode("ListResourceTypesRequest", &json).unwrap();

        let request = ListResourceTypesRequest::decode(bytes.as_slice()).unwrap();
        assert_eq!(request.max_results, Some(7));
        assert_eq!(request.resource_region_scope(), ResourceRegionScopeFilter::Global);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_path() {
        let fault = |json| encode("CreateResourceShareRequest", &json).unwrap_err();

        assert!(fault(json!({"nmae": "x"})).starts_with("request has no member `nmae`; it has name, "));
        assert_eq!(fault(json!({"name": 1})), "request.name must be a text");
        assert_eq!(
            fault(json!({"principals": "1"})),
            "request.principals must be a list"
        );
        assert_eq!(
            fault(json!({"tags": [{"key": []}]})),
            "request.tags[0].key must be a text"
        );
        assert_eq!(
            fault(json!({"allow_external_principals": "no"})),
            "request.allow_external_principals must be true or false"
        );
        assert_eq!(fault(json!([])), "request must be an object");
        assert!(encode("Nothing", &json!({})).is_err());
    }
}
