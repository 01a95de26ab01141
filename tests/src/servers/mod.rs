//! What a board talks to: Redis, `MLflow`, an S3 server, and proxies that break connections to them.

pub mod certificate;
pub mod http_faults;
pub mod mlflow;
pub mod proxy;
pub mod redis_server;
pub mod s3;
