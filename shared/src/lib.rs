//! What all three services need, and nothing that only one of them uses.

pub mod admin;
pub mod agent_id;
pub mod certificate;
pub mod config;
mod counted;
pub mod grpc;
pub mod namespace;
pub mod process;
pub mod session_key;
pub mod shutdown;
pub mod telemetry;
pub mod transport;

pub use agent_id::AgentId;
pub use counted::Counted;
pub use namespace::Namespace;
pub use session_key::SessionKey;
