//! The gRPC contract between the services, generated from the files in `proto/clawdbot/`.
//!
//! The `.proto` files are the documentation: every message, field and call is described there. This crate adds no
//! behaviour to them.

/// Agent runs.
pub mod agent {
    /// Package `clawdbot.agent.v1`.
    #[expect(clippy::all, clippy::pedantic, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("clawdbot.agent.v1");
    }
}

/// Sessions, their turns and messages.
pub mod session {
    /// Package `clawdbot.session.v1`.
    #[expect(clippy::all, clippy::pedantic, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("clawdbot.session.v1");
    }
}

/// The compiled `.proto` files as an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
