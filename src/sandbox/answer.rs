//! What goes back over the wire: a status, headers and a body that may break off on purpose.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;

use super::{
    error::Refusal,
    faults::{ErrorAnswer, RawAnswer},
};

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const JSON: &str = "application/json";

/// An answer that is not sent yet.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut answer = Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: HeaderMap::new(),
            body: body.into(),
        };
        answer.set(header::CONTENT_TYPE, content_type);
        answer
    }

    /// A JSON document.
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string())
    }

    /// An XML document.
    pub(super) fn xml(status: u16, body: String) -> Self {
        Self::new(status, "text/xml", body)
    }

    /// An exception in RAM's form.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let mut answer = Self::json(refusal.status, &refusal.body());
        answer.set(ERROR_TYPE, refusal.code);
        answer
    }

    /// An error as a fault plan describes it.
    pub(super) fn fault(fault: &ErrorAnswer) -> Self {
        let body = match (&fault.body, &fault.code) {
            (Some(body), _) => body.clone(),
            (None, Some(code)) => serde_json::json!({ "__type": code, "message": fault.message }).to_string(),
            (None, None) => String::new(),
        };
        let mut answer = Self::new(
            fault.http_status,
            fault.content_type.as_deref().unwrap_or(JSON),
            body,
        );
        if let Some(code) = &fault.code {
            answer.set(ERROR_TYPE, code);
        }
        answer.set_all(&fault.headers);
        answer
    }

    /// Any answer, as a fault plan describes it.
    pub(super) fn raw(raw: &RawAnswer) -> Self {
        let content_type = raw.content_type.as_deref().unwrap_or(JSON);
        let mut answer = Self::new(raw.http_status, content_type, raw.body.clone());
        answer.set_all(&raw.headers);
        answer
    }

    fn set(&mut self, name: HeaderName, value: &str) {
        // Checked where a fault plan is read; one that was built in Rust is not worth a panic.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }

    fn set_all<'a>(&mut self, headers: impl IntoIterator<Item = (&'a String, &'a String)>) {
        for (name, value) in headers {
            if let Ok(name) = HeaderName::try_from(name) {
                self.set(name, value);
            }
        }
    }

    /// Names the request, unless a fault plan already gave it another name.
    pub(super) fn identify(&mut self, request_id: &str) {
        if !self.headers.contains_key(REQUEST_ID) {
            self.set(REQUEST_ID, request_id);
        }
    }

    /// The message for hyper. If `cut`, the head promises the whole body and half of it comes.
    pub(super) fn into_response(self, cut: bool) -> Response<AnswerBody> {
        let whole = self.body.len();
        let ending = if cut { Ending::Break } else { Ending::Whole };
        let body = if cut {
            self.body.slice(..whole / 2)
        } else {
            self.body
        };
        let promised = u64::try_from(whole).unwrap_or(u64::MAX);
        let mut response = Response::new(AnswerBody {
            promised,
            rest: Some(body),
            ending,
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A body in one piece, or the first half of one.
#[derive(Debug)]
pub(super) struct AnswerBody {
    promised: u64,
    rest: Option<Bytes>,
    ending: Ending,
}

#[derive(Debug)]
enum Ending {
    Whole,
    /// Break off the next time but one.
    Break,
    Broken,
}

/// Makes hyper close the connection.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if let Some(bytes) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.ending {
            Ending::Whole => Poll::Ready(None),
            Ending::Break => {
                // hyper flushes what it has when a body is not ready. An error at once would close the connection with
                // the first half still in the buffer, and the client would not even see the head.
                self.ending = Ending::Broken;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ending::Broken => Poll::Ready(Some(Err(Closed))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Bytes::is_empty) && matches!(self.ending, Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}
