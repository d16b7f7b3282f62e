//! Applying a row of an unwind table to the registers of a frame: those of its caller.

use gimli::{CfaRule, EvaluationResult, Expression, Location, RegisterRule, UnwindExpression, Value};

use super::module::{Module, Row, Section, Slice};
use super::{End, Process, Registers, word};

/// Most operations of one expression.
const MOST_OPERATIONS: u32 = 10_000;

/// What an expression may ask for.
struct Frame<'a, P> {
    module: &'a Module,
    row: &'a Row,
    /// Added to the addresses of the file.
    bias: u64,
    registers: &'a Registers,
    process: &'a mut P,
}

/// The registers of the caller; nothing when the table says that there is none.
pub(super) fn apply(
    row: &Row,
    module: &Module,
    bias: u64,
    registers: &Registers,
    process: &mut impl Process,
) -> Result<Option<Registers>, End> {
    module.allow_step();
    let machine = registers.machine;
    let mut frame = Frame { module, row, bias, registers, process };
    let cfa = match &row.cfa {
        CfaRule::RegisterAndOffset { register, offset } => {
            registers.get(register.0).ok_or(End::BadTable)?.wrapping_add_signed(*offset)
        }
        CfaRule::Expression(expression) => frame.evaluate(expression, None)?,
    };
    let cfa = machine.cut(cfa);
    let mut caller = *registers;
    caller.set(machine.sp() as u16, cfa);
    let mut has_address = false;
    for (register, rule) in &row.rules {
        let value = match rule {
            RegisterRule::Undefined => {
                if *register == row.return_address {
                    return Ok(None);
                }
                continue;
            }
            RegisterRule::SameValue => registers.get(*register).unwrap_or(0),
            RegisterRule::Offset(offset) => {
                let place = machine.cut(cfa.wrapping_add_signed(*offset));
                word(frame.process, machine, place).ok_or(End::Unreadable)?
            }
            RegisterRule::ValOffset(offset) => cfa.wrapping_add_signed(*offset),
            RegisterRule::Register(other) => registers.get(other.0).unwrap_or(0),
            RegisterRule::Expression(expression) => {
                let place = machine.cut(frame.evaluate(expression, Some(cfa))?);
                word(frame.process, machine, place).ok_or(End::Unreadable)?
            }
            RegisterRule::ValExpression(expression) => frame.evaluate(expression, Some(cfa))?,
            RegisterRule::Constant(value) => *value,
            RegisterRule::Architectural => continue,
        };
        if *register == row.return_address {
            has_address = true;
            caller.set(machine.ip() as u16, value);
        } else {
            caller.set(*register, value);
        }
    }
    // Without a rule for the return address nobody is returned to.
    Ok(has_address.then_some(caller))
}

impl<P: Process> Frame<'_, P> {
    fn evaluate(&mut self, expression: &UnwindExpression<usize>, cfa: Option<u64>) -> Result<u64, End> {
        let expression: Expression<Slice<'_>> = match self.row.section {
            Section::EhFrame => expression.get(&self.module.eh_frame()),
            Section::DebugFrame => expression.get(&self.module.debug_frame()),
        }
        .map_err(|_| End::BadTable)?;
        let mut evaluation = expression.evaluation(self.row.encoding);
        evaluation.set_max_iterations(MOST_OPERATIONS);
        if let Some(cfa) = cfa {
            evaluation.set_initial_value(cfa);
        }
        let mut result = evaluation.evaluate();
        loop {
            let bad = |_| End::BadTable;
            result = match result.map_err(bad)? {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    let value = self.registers.get(register.0).ok_or(End::BadTable)?;
                    evaluation.resume_with_register(Value::Generic(value))
                }
                EvaluationResult::RequiresMemory { address, size, .. } => {
                    let mut bytes = [0; 8];
                    let length = usize::from(size.min(8));
                    let place = self.registers.machine.cut(address);
                    if !self.process.read(place, &mut bytes[..length]) {
                        return Err(End::Unreadable);
                    }
                    evaluation.resume_with_memory(Value::Generic(u64::from_le_bytes(bytes)))
                }
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    evaluation.resume_with_relocated_address(address.wrapping_add(self.bias))
                }
                EvaluationResult::RequiresCallFrameCfa => {
                    evaluation.resume_with_call_frame_cfa(cfa.ok_or(End::BadTable)?)
                }
                _ => return Err(End::BadTable),
            };
        }
        match evaluation.as_result().first().map(|piece| &piece.location) {
            Some(Location::Address { address }) => Ok(*address),
            Some(Location::Value { value }) => value.to_u64(u64::MAX).map_err(|_| End::BadTable),
            Some(Location::Register { register }) => self.registers.get(register.0).ok_or(End::BadTable),
            _ => Err(End::BadTable),
        }
    }
}
