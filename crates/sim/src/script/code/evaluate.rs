//! Expressions to values. What Python would not do is an error, and so is what does not fit into
//! 64 bits, where Python's numbers grow.

use super::expression::{Comparison, Expression, Operator};
use super::value::Value;
use super::{Problem, Scope, Subject, not_supported};

/// The longest string that an expression may make.
const MAX_TEXT: usize = 4096;

impl Scope {
    pub(super) fn evaluate(
        &self,
        expression: &Expression,
        subject: Subject<'_>,
    ) -> Result<Value, Problem> {
        let value = |expression| self.evaluate(expression, subject);
        Ok(match expression {
            Expression::Integer(number) => Value::Integer(*number),
            Expression::Float(number) => Value::Float(*number),
            Expression::Text(text) => Value::Text(text.clone()),
            Expression::Name(name) => match name.as_str() {
                "True" => Value::Boolean(true),
                "False" => Value::Boolean(false),
                "None" => Value::None,
                _ => self.name(name, subject)?,
            },
            Expression::Tuple(all) => {
                Value::Tuple(all.iter().map(value).collect::<Result<_, _>>()?)
            }
            Expression::Not(inner) => Value::Boolean(!value(inner)?.is_true()),
            Expression::Negative(inner) => match value(inner)? {
                Value::Float(number) => Value::Float(-number),
                other => Value::Integer(whole(&other)?.checked_neg().ok_or_else(too_big)?),
            },
            Expression::Invert(inner) => Value::Integer(!whole(&value(inner)?)?),
            Expression::Both(a, b) => {
                let first = value(a)?;
                if first.is_true() { value(b)? } else { first }
            }
            Expression::Either(a, b) => {
                let first = value(a)?;
                if first.is_true() { first } else { value(b)? }
            }
            Expression::Binary(operator, a, b) => binary(*operator, &value(a)?, &value(b)?)?,
            Expression::Compare(first, rest) => {
                let mut left = value(first)?;
                for (how, next) in rest {
                    let right = value(next)?;
                    if !compare(*how, &left, &right)? {
                        return Ok(Value::Boolean(false));
                    }
                    left = right;
                }
                Value::Boolean(true)
            }
            Expression::Call(name, arguments) => {
                let arguments: Vec<Value> =
                    arguments.iter().map(value).collect::<Result<_, _>>()?;
                call(name, &arguments)?
            }
        })
    }
}

/// `a operator b`.
pub(super) fn binary(operator: Operator, a: &Value, b: &Value) -> Result<Value, Problem> {
    match (operator, a, b) {
        (Operator::Remainder, Value::Text(form), _) => return formatted(form, b),
        (Operator::Add, Value::Text(a), Value::Text(b)) if a.len() + b.len() <= MAX_TEXT => {
            return Ok(Value::Text(format!("{a}{b}")));
        }
        _ => {}
    }
    match (a.integer(), b.integer()) {
        (Some(a), Some(b)) if operator != Operator::Divide => whole_numbers(operator, a, b),
        _ => real_numbers(operator, a, b),
    }
}

fn whole_numbers(operator: Operator, a: i64, b: i64) -> Result<Value, Problem> {
    let divisor = || if b == 0 { Err(Problem::from("division by zero")) } else { Ok(b) };
    let shift = u32::try_from(b);
    let result = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        // Python rounds down, and the remainder has the sign of the divisor.
        Operator::FloorDivide => {
            let divisor = divisor()?;
            let floor =
                |q: i64| if a % divisor != 0 && (a < 0) != (divisor < 0) { q - 1 } else { q };
            a.checked_div(divisor).map(floor)
        }
        Operator::Remainder => {
            let divisor = divisor()?;
            let sign = |r: i64| if r != 0 && (r < 0) != (divisor < 0) { r + divisor } else { r };
            a.checked_rem(divisor).map(sign)
        }
        Operator::Power => shift.ok().and_then(|exponent| a.checked_pow(exponent)),
        Operator::And => Some(a & b),
        Operator::Or => Some(a | b),
        Operator::Xor => Some(a ^ b),
        Operator::ShiftLeft => {
            let factor = shift.ok().filter(|s| *s < 63).map(|s| 1i64 << s);
            factor.and_then(|factor| a.checked_mul(factor))
        }
        Operator::ShiftRight => shift.ok().map(|s| a >> s.min(63)),
        Operator::Divide => None,
    };
    result.map(Value::Integer).ok_or_else(too_big)
}

fn real_numbers(operator: Operator, a: &Value, b: &Value) -> Result<Value, Problem> {
    let (Some(a), Some(b)) = (a.float(), b.float()) else {
        return Err(format!("{a} and {b} are not two numbers").into());
    };
    let nonzero = || if b == 0.0 { Err(Problem::from("division by zero")) } else { Ok(b) };
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / nonzero()?,
        Operator::FloorDivide => (a / nonzero()?).floor(),
        Operator::Remainder => a - b * (a / nonzero()?).floor(),
        Operator::Power => a.powf(b),
        _ => return Err("bits of numbers with a fraction".into()),
    }))
}

fn compare(how: Comparison, a: &Value, b: &Value) -> Result<bool, Problem> {
    let order = match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => match (a.integer(), b.integer()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.float().zip(b.float()).and_then(|(a, b)| a.partial_cmp(&b)),
        },
    };
    Ok(match (how, order) {
        (Comparison::Equal, order) => order.map_or(a == b, |order| order.is_eq()),
        (Comparison::NotEqual, order) => order.map_or(a != b, |order| order.is_ne()),
        (Comparison::Less, Some(order)) => order.is_lt(),
        (Comparison::LessOrEqual, Some(order)) => order.is_le(),
        (Comparison::Greater, Some(order)) => order.is_gt(),
        (Comparison::GreaterOrEqual, Some(order)) => order.is_ge(),
        _ => return Err(format!("{a} and {b} have no order").into()),
    })
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, Problem> {
    let one = || match arguments {
        [value] => Ok(value),
        _ => Err(Problem::from(format!("{name} takes one value"))),
    };
    Ok(match name {
        "abs" => match one()? {
            Value::Float(number) => Value::Float(number.abs()),
            value => Value::Integer(whole(value)?.checked_abs().ok_or_else(too_big)?),
        },
        "int" => Value::Integer(truncated(one()?)?),
        "round" => match one()? {
            Value::Float(number) => Value::Integer(truncated(&Value::Float(number.round()))?),
            value => Value::Integer(whole(value)?),
        },
        "float" => Value::Float(one()?.float().ok_or("float takes a number")?),
        "str" => Value::Text(one()?.to_string()),
        "len" => match one()? {
            Value::Text(text) => Value::Integer(text.chars().count().try_into().unwrap_or(0)),
            Value::Tuple(values) => Value::Integer(values.len().try_into().unwrap_or(0)),
            value => return Err(format!("{value} has no length").into()),
        },
        "min" | "max" => {
            let how = if name == "min" { Comparison::Less } else { Comparison::Greater };
            let mut best = arguments.first().ok_or_else(|| format!("{name} of nothing"))?;
            for value in arguments {
                if compare(how, value, best)? {
                    best = value;
                }
            }
            best.clone()
        }
        _ => return Err(not_supported(format!("the function `{name}` in %{{ }}%"))),
    })
}

/// `'%d of %s' % values`; a precision or width is left out.
fn formatted(form: &str, values: &Value) -> Result<Value, Problem> {
    let values = match values {
        Value::Tuple(values) => values.clone(),
        one => vec![one.clone()],
    };
    let mut values = values.into_iter();
    let mut text = String::new();
    let mut chars = form.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.find(|c| !matches!(c, '0'..='9' | '.' | '-' | '+' | ' ')) {
            Some('%') => text.push('%'),
            Some('d' | 'i' | 'u') => {
                text.push_str(&truncated(&values.next().ok_or(TOO_FEW)?)?.to_string());
            }
            Some('x') => {
                text.push_str(&format!("{:x}", truncated(&values.next().ok_or(TOO_FEW)?)?));
            }
            Some('s' | 'r' | 'f' | 'g') => {
                text.push_str(&values.next().ok_or(TOO_FEW)?.to_string());
            }
            _ => return Err(not_supported(format!("the format `{form}`"))),
        }
    }
    if text.len() > MAX_TEXT {
        return Err("this text is too long".into());
    }
    Ok(Value::Text(text))
}

const TOO_FEW: &str = "too few values for the format";

fn whole(value: &Value) -> Result<i64, Problem> {
    value.integer().ok_or_else(|| format!("{value} is no whole number").into())
}

#[expect(clippy::cast_possible_truncation, reason = "cutting the fraction off is what it is for")]
fn truncated(value: &Value) -> Result<i64, Problem> {
    match value {
        Value::Float(number) if number.is_finite() => Ok(*number as i64),
        value => whole(value),
    }
}

fn too_big() -> Problem {
    "this number is too big".into()
}
