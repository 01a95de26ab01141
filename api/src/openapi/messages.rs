//! The schema of a server-sent event.

use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};

/// A message of a stream, as the document has it.
pub(crate) struct Message<'a> {
    /// What it is.
    pub(crate) about: &'a str,
    /// The names of its events.
    pub(crate) events: &'a [&'a str],
    /// What its id is, and an example.
    pub(crate) id: (&'a str, &'a str),
}

impl Message<'_> {
    /// The schema of such a message whose data is a `T` as JSON text.
    pub(crate) fn with_data<T: ToSchema>(&self) -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let value = RefOr::<Schema>::Ref(Ref::from_schema_name(T::name()));
        let data = text().content_media_type("application/json").content_schema(Some(value));
        let (about_id, example) = self.id;
        Object::builder()
            .description(Some(self.about))
            .property("event", text().enum_values(Some(self.events.iter().copied())))
            .required("event")
            .property("id", text().description(Some(about_id)).examples([example]))
            .property("data", data.description(Some("JSON text.")))
            .required("data")
            .into()
    }
}

/// Adds the schema of a message's data.
pub(crate) fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
