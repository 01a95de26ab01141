//! The modules of a crate, and what each imports: its `use` declarations and the paths in its code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// A path as it is written or as it is resolved: from the root of the crate, without `crate`.
type Names = Vec<String>;

/// How many re-exports a path may lead through.
const MAX_REEXPORTS: usize = 16;

/// All modules of a crate but those of its tests.
pub(super) struct SourceTree {
    modules: BTreeMap<Names, Module>,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    uses: Vec<Use>,
    /// The paths in the code, and the names of types.
    paths: Vec<Names>,
}

struct Use {
    path: Names,
    /// The name in this module; `None` for all names of the path.
    name: Option<String>,
    /// A name that is passed on to others is no import.
    is_reexport: bool,
}

impl SourceTree {
    /// Reads a crate from its root, such as `src/lib.rs`.
    pub(super) fn read(root: &Path) -> Self {
        let mut reader = Reader { modules: BTreeMap::new(), at: vec![], file: root.to_owned() };
        reader.read_file(root);
        Self { modules: reader.modules }
    }

    /// Returns each file with the files that define what it imports.
    pub(super) fn imports(&self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        let mut imports: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for (at, module) in &self.modules {
            let imported = module.uses.iter().filter(|used| !used.is_reexport).map(|used| &used.path);
            let files = imported.chain(&module.paths).filter_map(|path| self.file_of(at, path));
            imports.entry(module.file.clone()).or_default().extend(files.filter(|file| *file != module.file));
        }
        imports
    }

    /// Returns the file that defines what a path names in a module; `None` if another crate does.
    fn file_of(&self, at: &[String], path: &[String]) -> Option<PathBuf> {
        let absolute = self.absolute(at, path)?;
        let home = self.home(&absolute, MAX_REEXPORTS)?;
        Some(self.modules[&home].file.clone())
    }

    /// Returns the module in which the item of an absolute path is defined, wherever it is re-exported.
    fn home(&self, path: &[String], left: usize) -> Option<Names> {
        let within = (0..=path.len()).rev().find(|&end| self.modules.contains_key(&path[..end]))?;
        let (module, rest) = path.split_at(within);
        let Some((name, rest)) = rest.split_first() else { return Some(module.to_owned()) };
        let uses = &self.modules[module].uses;
        let follow = |used: &Use| {
            let absolute = self.absolute(module, &used.path)?;
            self.home(&[absolute.as_slice(), rest].concat(), left.checked_sub(1)?)
        };
        let mut named = uses.iter().filter(|used| used.name.as_ref() == Some(name));
        named.find_map(follow).or_else(|| Some(module.to_owned()))
    }

    /// Returns a path from the root of the crate; `None` if it leads into another crate.
    fn absolute(&self, at: &[String], path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_owned()),
            "self" => Some([at, rest].concat()),
            "super" => {
                let (_, parent) = at.split_last()?;
                let is_root = rest.is_empty() || rest[0] != "super";
                if is_root { Some([parent, rest].concat()) } else { self.absolute(parent, rest) }
            }
            name => {
                let child = [at, &[name.to_owned()]].concat();
                if self.modules.contains_key(&child) {
                    return Some([at, path].concat());
                }
                let used = self.modules[at].uses.iter().find(|used| used.name.as_deref() == Some(name))?;
                if used.path.first() == Some(first) {
                    return None;
                }
                Some([self.absolute(at, &used.path)?.as_slice(), rest].concat())
            }
        }
    }
}

struct Reader {
    modules: BTreeMap<Names, Module>,
    /// The module that is read.
    at: Names,
    file: PathBuf,
}

impl Reader {
    fn read_file(&mut self, file: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let outer = std::mem::replace(&mut self.file, file.to_owned());
        self.module();
        self.visit_file(&parsed);
        self.file = outer;
    }

    fn module(&mut self) -> &mut Module {
        let module = Module { file: self.file.clone(), ..Module::default() };
        self.modules.entry(self.at.clone()).or_insert(module)
    }

    /// Returns where the module `name` of this file lies.
    fn child(&self, name: &str) -> PathBuf {
        let stem = self.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let folder = if ["lib", "main", "mod"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
        let flat = folder.join(format!("{name}.rs"));
        if flat.exists() { flat } else { folder.join(name).join("mod.rs") }
    }

    fn note_use(&mut self, prefix: &[String], tree: &UseTree, is_reexport: bool) {
        let mut note = |path: Names, name: Option<String>| self.module().uses.push(Use { path, name, is_reexport });
        match tree {
            UseTree::Path(path) => {
                self.note_use(&[prefix, &[path.ident.to_string()]].concat(), &path.tree, is_reexport);
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(prefix, tree, is_reexport)),
            UseTree::Glob(_) => note(prefix.to_owned(), None),
            UseTree::Name(name) if name.ident == "self" => note(prefix.to_owned(), prefix.last().cloned()),
            UseTree::Name(name) => {
                note([prefix, &[name.ident.to_string()]].concat(), Some(name.ident.to_string()));
            }
            UseTree::Rename(rename) => {
                let named = if rename.ident == "self" { vec![] } else { vec![rename.ident.to_string()] };
                note([prefix, named.as_slice()].concat(), Some(rename.rename.to_string()));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let is_test = matches!(item, ImplItem::Fn(function) if is_for_tests(&function.attrs));
        if !is_test {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let name = module.ident.to_string();
        let file = module.content.is_none().then(|| self.child(&name));
        self.at.push(name);
        if let Some(file) = file {
            self.read_file(&file);
        } else {
            self.module();
            visit::visit_item_mod(self, module);
        }
        self.at.pop();
    }

    fn visit_item_use(&mut self, used: &'ast ItemUse) {
        self.note_use(&[], &used.tree, !matches!(used.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // One lower-case name is a variable more often than an import.
        if path.leading_colon.is_none() && (names.len() > 1 || names[0].starts_with(char::is_uppercase)) {
            self.module().paths.push(names);
        }
        visit::visit_path(self, path);
    }

    /// What a macro is given is no Rust yet, so its paths are found by their looks.
    fn visit_macro(&mut self, called: &'ast Macro) {
        let text = called.tokens.to_string().replace(" :: ", "::");
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
            let names: Names = word.split("::").map(str::to_owned).collect();
            if names.len() > 1 && names.iter().all(|name| !name.is_empty() && !name.contains(':')) {
                self.module().paths.push(names);
            }
        }
        visit::visit_macro(self, called);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}
