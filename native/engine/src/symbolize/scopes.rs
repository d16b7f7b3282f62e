//! Namespaces and classes around functions of C++, for those that nothing is linked by: of what is inlined everywhere, debug
//! information has no more than the function's own name, at its place among the others.

use std::collections::HashMap;
use std::rc::Rc;

use gimli::{AttributeValue, DwTag, UnitOffset, UnitRef, constants as dw};

use super::Slice;

/// Scopes inside each other, and bytes of all their names: what is deeper or longer has none.
const DEEPEST: usize = 64;
const LONGEST: usize = super::LONGEST_NAME;
/// Most bytes of names that are kept, of all units.
const MOST_BYTES: usize = 64 << 20;
/// From an inlined function to what it is a copy of, to its definition, to its declaration.
const MOST_STEPS: usize = 8;

/// The names in front of the functions of one unit, by the places of these.
type Names = HashMap<usize, Rc<str>>;

/// What was found out about units so far.
pub struct Scopes {
    /// By the place of the unit, and whether it is one of a .dwo file.
    units: HashMap<(usize, u64), Names>,
    budget: Budget,
}

impl Default for Scopes {
    fn default() -> Scopes {
        Scopes { units: HashMap::new(), budget: Budget { left: MOST_BYTES, is_spent: false } }
    }
}

/// Bytes that names may take.
struct Budget {
    left: usize,
    is_spent: bool,
}

impl Budget {
    /// Takes so many of them; nothing when there are fewer, and from then on.
    fn charge(&mut self, bytes: usize) -> Option<()> {
        let left = self.left.checked_sub(bytes);
        self.is_spent |= left.is_none();
        self.left = left.unwrap_or(0);
        left.map(|_| ())
    }
}

impl Scopes {
    /// The names of what a function is inside, with `::` behind each; nothing when there are none, or it is not of C++.
    pub fn of(&mut self, unit: UnitRef<'_, Slice<'_>>, function: UnitOffset) -> Option<Rc<str>> {
        is_cpp(unit).then_some(())?;
        let declaration = declared(unit, function)?;
        let place = (unit.header.debug_info_offset()?.0, unit.dwo_id.map_or(0, |id| id.0));
        let budget = &mut self.budget;
        let names = self.units.entry(place).or_insert_with(|| names_of(unit, budget));
        names.get(&declaration.0).cloned()
    }

    /// Whether there were more names than are kept, ever.
    pub fn is_spent(&self) -> bool {
        self.budget.is_spent
    }
}

fn is_cpp(unit: UnitRef<'_, Slice<'_>>) -> bool {
    let language = || unit.entry(unit.header.root_offset()).ok()?.attr_value(dw::DW_AT_language);
    let is_one = |language| {
        matches!(
            language,
            dw::DW_LANG_C_plus_plus
                | dw::DW_LANG_C_plus_plus_03
                | dw::DW_LANG_C_plus_plus_11
                | dw::DW_LANG_C_plus_plus_14
                | dw::DW_LANG_C_plus_plus_17
                | dw::DW_LANG_C_plus_plus_20
        )
    };
    matches!(language(), Some(AttributeValue::Language(language)) if is_one(language))
}

/// Where the function of a place was declared. Declarations in other units are not looked for.
fn declared(unit: UnitRef<'_, Slice<'_>>, function: UnitOffset) -> Option<UnitOffset> {
    let mut place = function;
    for _ in 0..MOST_STEPS {
        let entry = unit.entry(place).ok()?;
        let next =
            [dw::DW_AT_abstract_origin, dw::DW_AT_specification].into_iter().find_map(|name| entry.attr_value(name));
        match next {
            None => return Some(place),
            Some(AttributeValue::UnitRef(other)) => place = other,
            Some(AttributeValue::DebugInfoRef(other)) => place = other.to_unit_offset(&unit.header)?,
            Some(_) => return None,
        }
    }
    None
}

fn is_scope(tag: DwTag) -> bool {
    matches!(tag, dw::DW_TAG_namespace | dw::DW_TAG_class_type | dw::DW_TAG_structure_type | dw::DW_TAG_union_type)
}

/// All that can be read, as far as it goes.
fn names_of(unit: UnitRef<'_, Slice<'_>>, budget: &mut Budget) -> Names {
    let mut names = Names::new();
    let _ = collect(unit, &mut names, budget);
    names
}

fn collect(unit: UnitRef<'_, Slice<'_>>, names: &mut Names, budget: &mut Budget) -> gimli::Result<()> {
    let mut open: Vec<(isize, Rc<str>)> = Vec::new();
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        let (offset, depth) = (entries.next_offset(), entries.next_depth());
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        while open.last().is_some_and(|(outer, _)| *outer >= depth) {
            open.pop();
        }
        if !is_scope(abbreviation.tag()) {
            if abbreviation.tag() == dw::DW_TAG_subprogram
                && let Some((_, scope)) = open.last()
            {
                let Some(()) = budget.charge(size_of::<(usize, Rc<str>)>()) else { break };
                names.insert(offset.0, Rc::clone(scope));
            }
            entries.skip_attributes(abbreviation.attributes())?;
            continue;
        }
        let mut name = None;
        for specification in abbreviation.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            if attribute.name() == dw::DW_AT_name {
                name = unit.attr_string(attribute.value()).ok();
            }
        }
        let name = name.as_ref().map(|name| String::from_utf8_lossy(name.bytes()));
        let name = match (&name, abbreviation.tag()) {
            (Some(name), _) => name,
            (None, dw::DW_TAG_namespace) => "(anonymous namespace)",
            (None, _) => continue,
        };
        let outer = open.last().map_or("", |(_, outer)| outer);
        if open.len() < DEEPEST && outer.len() + name.len() < LONGEST {
            let Some(()) = budget.charge(outer.len() + name.len() + 2) else { break };
            open.push((depth, format!("{outer}{name}::").into()));
        }
    }
    Ok(())
}
