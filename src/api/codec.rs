//! Protobuf for unary methods: exactly one message each way, and no echo of bytes that are none.
//!
//! `build.rs` names this codec for the generated services, so it works on both sides of the wire. It is for unary
//! methods only; a streaming one needs `tonic_prost::ProstCodec`.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::failure::{Failure, Reason};

/// Encodes `T` and decodes one `U`.
#[derive(Clone, Debug)]
pub struct ProstCodec<T, U> {
    types: PhantomData<(T, U)>,
}

impl<T, U> Default for ProstCodec<T, U> {
    fn default() -> Self {
        Self { types: PhantomData }
    }
}

impl<T, U> Codec for ProstCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = OneMessage<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        OneMessage {
            inner: ProstDecoder::default(),
            decoded: false,
        }
    }
}

/// Decodes one message and refuses a second. tonic makes one for each call, and reads a unary request to its end.
#[derive(Clone, Debug)]
pub struct OneMessage<U> {
    inner: ProstDecoder<U>,
    decoded: bool,
}

impl<U: Message + Default> Decoder for OneMessage<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        if std::mem::replace(&mut self.decoded, true) {
            return Err(malformed("a second message on a unary method; send one"));
        }
        // prost's own text names fields and repeats bytes of their values.
        self.inner.decode(bytes).map_err(|_echo| {
            malformed(
                "the message is not valid protobuf of the method's type; check the client's proto files",
            )
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.inner.buffer_settings()
    }
}

fn malformed(message: &str) -> Status {
    Failure::new(Reason::MalformedMessage, message).to_status(None)
}
