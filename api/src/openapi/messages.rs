//! The schemas of server-sent events.

use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

/// The schemas that a document has, by name.
pub(crate) type Schemas = Vec<(String, RefOr<Schema>)>;

/// Returns the schema of a message that is one of these.
pub(crate) fn any(about: &str, kinds: impl IntoIterator<Item = Object>) -> RefOr<Schema> {
    kinds.into_iter().fold(OneOfBuilder::new().description(Some(about)), OneOfBuilder::item).into()
}

/// Returns the schema of a message with this name whose data is a `T` as JSON text. `id` is an example of its id; `None`
/// if the message has no id.
pub(crate) fn named<T: ToSchema>(event: &str, id: Option<&str>) -> Object {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let value = RefOr::<Schema>::Ref(Ref::from_schema_name(T::name()));
    let data = text().content_media_type("application/json").content_schema(Some(value));
    let message = Object::builder()
        .property("event", text().enum_values(Some([event])))
        .required("event")
        .property("data", data.description(Some(format!("A `{}` as JSON text.", T::name()))))
        .required("data");
    match id {
        Some(id) => message.property("id", text().examples([id])).build(),
        None => message.build(),
    }
}

/// Adds the schema of a message's data.
pub(crate) fn add<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
