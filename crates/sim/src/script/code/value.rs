//! The values of a script's code.

use std::fmt;

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Text(String),
    Tuple(Vec<Value>),
    None,
}

impl Value {
    /// Whether `if` would take it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Integer(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Boolean(value) => *value,
            Value::Text(text) => !text.is_empty(),
            Value::Tuple(values) => !values.is_empty(),
            Value::None => false,
        }
    }

    /// As a whole number, if it is one.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            Value::Boolean(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// As a number, if it is one.
    #[expect(clippy::cast_precision_loss, reason = "what Python's float() does")]
    pub(super) fn float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => self.integer().map(|value| value as f64),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Integer(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Boolean(true) => f.write_str("True"),
            Value::Boolean(false) => f.write_str("False"),
            Value::Text(text) => f.write_str(text),
            Value::Tuple(values) => {
                let words: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "({})", words.join(", "))
            }
            Value::None => f.write_str("None"),
        }
    }
}
