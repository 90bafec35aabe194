//! Random changes to a tree: everything a user may do between two backups.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Changes a tree at random, remembering what it did.
pub struct Mutator {
    random: Random,
    counter: u64,
    /// One line per change, for the failure message.
    pub log: Vec<String>,
}

impl Mutator {
    /// A mutator; equal seeds do equal things to equal trees.
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            counter: 0,
            log: vec![format!("seed {seed}")],
        }
    }

    /// Makes `steps` changes below `root`.
    #[track_caller]
    pub fn change(&mut self, root: &Path, steps: usize) {
        self.log.push("---".to_owned());
        for _ in 0..steps {
            if let Err(error) = self.step(root) {
                panic!("the mutator failed: {error}\n{}", self.log.join("\n"));
            }
        }
    }

    fn step(&mut self, root: &Path) -> io::Result<()> {
        let tree = Survey::of(root)?;
        match self.random.below(16) {
            0..=2 => self.create_file(&tree),
            3 => self.create_directory(&tree),
            4 => self.create_symlink(&tree),
            5 => self.create_hard_link(&tree),
            6 => self.append(&tree),
            7 => self.rewrite_same_size(&tree),
            8 => self.replace_by_rename(&tree),
            9 => self.remove(&tree),
            10 => self.remove_directory(&tree),
            11 => self.rename(&tree),
            12 => self.change_kind(&tree),
            13 => self.change_mode(&tree),
            14 => self.set_time(&tree),
            _ => self.sparse(&tree),
        }
    }

    fn fresh(&mut self, tree: &Survey) -> PathBuf {
        self.counter += 1;
        let odd = ["", " ", "\n", "é", "=", "%", "-"];
        let suffix = self.random.pick(&odd).copied().unwrap_or_default();
        let directory = self
            .random
            .pick(&tree.directories)
            .cloned()
            .unwrap_or_else(|| tree.root.clone());
        // Few distinct names, so that a later level reuses the name of something deleted as another kind.
        let name = if self.random.chance(60) {
            format!("n{}", self.random.below(12))
        } else {
            format!("x{}{suffix}", self.counter)
        };
        let path = directory.join(name);
        if path.symlink_metadata().is_ok() {
            directory.join(format!("y{}", self.counter))
        } else {
            path
        }
    }

    fn note(&mut self, what: &str, path: &Path, root: &Path) {
        self.log
            .push(format!("{what} {:?}", path.strip_prefix(root).unwrap_or(path)));
    }

    fn create_file(&mut self, tree: &Survey) -> io::Result<()> {
        let path = self.fresh(tree);
        self.note("create", &path, &tree.root);
        let size = match self.random.below(10) {
            0 => 0,
            1..=6 => self.random.below(3000),
            7 | 8 => self.random.below(70_000),
            _ => self.random.below(2 << 20),
        };
        fs::write(path, self.random.bytes(size))
    }

    fn create_directory(&mut self, tree: &Survey) -> io::Result<()> {
        let path = self.fresh(tree);
        self.note("mkdir", &path, &tree.root);
        fs::create_dir(path)
    }

    fn create_symlink(&mut self, tree: &Survey) -> io::Result<()> {
        let path = self.fresh(tree);
        self.note("symlink", &path, &tree.root);
        let targets = ["n1", "../n2", "/nonexistent", ".", "n\n3"];
        symlink(self.random.pick(&targets).copied().unwrap_or("n1"), path)
    }

    fn create_hard_link(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(from) = self.random.pick(&tree.files).cloned() else {
            return Ok(());
        };
        let path = self.fresh(tree);
        self.note(
            &format!("link {:?} to", from.strip_prefix(&tree.root).unwrap_or(&from)),
            &path,
            &tree.root,
        );
        fs::hard_link(from, path)
    }

    fn append(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(path) = self.random.pick(&tree.files).cloned() else {
            return Ok(());
        };
        self.note("append", &path, &tree.root);
        let length = self.random.below(5000) + 1;
        OpenOptions::new()
            .append(true)
            .open(path)?
            .write_all(&self.random.bytes(length))
    }

    /// Same size and, half the time, the same mtime: only ctime tells.
    fn rewrite_same_size(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(path) = self.random.pick(&tree.files).cloned() else {
            return Ok(());
        };
        self.note("rewrite", &path, &tree.root);
        let before = fs::metadata(&path)?;
        let size = usize::try_from(before.size().min(1 << 20)).unwrap_or(0);
        let file = OpenOptions::new().write(true).open(&path)?;
        file.write_all_at(&self.random.bytes(size), 0)?;
        if self.random.chance(50) {
            file.set_modified(before.modified()?)
        } else {
            Ok(())
        }
    }

    /// What editors do: a new inode under the old name.
    fn replace_by_rename(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(path) = self.random.pick(&tree.files).cloned() else {
            return Ok(());
        };
        self.note("replace", &path, &tree.root);
        let temporary = path.with_file_name(".replacement");
        let size = self.random.below(4000);
        fs::write(&temporary, self.random.bytes(size))?;
        fs::rename(temporary, path)
    }

    fn remove(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(path) = self.random.pick(&tree.files).cloned() else {
            return Ok(());
        };
        self.note("rm", &path, &tree.root);
        fs::remove_file(path)
    }

    fn remove_directory(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(path) = self.random.pick(&tree.directories).cloned() else {
            return Ok(());
        };
        if path == tree.root || tree.entries_below(&path) > 20 {
            return Ok(());
        }
        self.note("rm -r", &path, &tree.root);
        fs::remove_dir_all(path)
    }

    fn rename(&mut self, tree: &Survey) -> io::Result<()> {
        let pool = if self.random.chance(50) {
            &tree.directories
        } else {
            &tree.files
        };
        let Some(from) = self.random.pick(pool).cloned() else {
            return Ok(());
        };
        let to = self.fresh(tree);
        if from == tree.root || to.starts_with(&from) {
            return Ok(());
        }
        self.note(
            &format!("mv {:?} to", from.strip_prefix(&tree.root).unwrap_or(&from)),
            &to,
            &tree.root,
        );
        fs::rename(from, to)
    }

    fn change_kind(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(path) = self.random.pick(&tree.all).cloned() else {
            return Ok(());
        };
        if path == tree.root || tree.entries_below(&path) > 20 {
            return Ok(());
        }
        if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
        let kind = self.random.below(3);
        self.note(["into file", "into dir", "into symlink"][kind], &path, &tree.root);
        match kind {
            0 => fs::write(path, self.random.bytes(700)),
            1 => {
                fs::create_dir(&path)?;
                fs::write(path.join("inside"), self.random.bytes(30))
            }
            _ => symlink("n4", path),
        }
    }

    fn change_mode(&mut self, tree: &Survey) -> io::Result<()> {
        let pool = if self.random.chance(30) {
            &tree.directories
        } else {
            &tree.files
        };
        let Some(path) = self.random.pick(pool).cloned() else {
            return Ok(());
        };
        self.note("chmod", &path, &tree.root);
        let modes = [0o600, 0o644, 0o755, 0o700, 0o4755, 0o640];
        let mode = self.random.pick(&modes).copied().unwrap_or(0o700);
        // Directories stay usable for those who run the tests without root.
        let mode = if path.is_dir() { 0o700 | mode & 0o077 } else { mode };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    fn set_time(&mut self, tree: &Survey) -> io::Result<()> {
        let Some(path) = self.random.pick(&tree.files).cloned() else {
            return Ok(());
        };
        self.note("touch", &path, &tree.root);
        let seconds = self.random.word() % 4_000_000_000;
        let nanoseconds = u32::try_from(self.random.below(1_000_000_000)).unwrap_or(0);
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanoseconds);
        File::open(path)?.set_modified(time)
    }

    fn sparse(&mut self, tree: &Survey) -> io::Result<()> {
        let path = self.fresh(tree);
        self.note("sparse", &path, &tree.root);
        let file = File::create(path)?;
        file.set_len(self.random.below(8 << 20) as u64)?;
        let offset = self.random.below(4 << 20) as u64;
        if self.random.chance(70) {
            file.write_all_at(&self.random.bytes(9000), offset)
        } else {
            Ok(())
        }
    }
}

/// What a tree holds at one moment, in a stable order.
struct Survey {
    root: PathBuf,
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
    all: Vec<PathBuf>,
}

impl Survey {
    fn of(root: &Path) -> io::Result<Self> {
        let mut survey = Self {
            root: root.to_path_buf(),
            directories: vec![],
            files: vec![],
            all: vec![],
        };
        survey.visit(root)?;
        Ok(survey)
    }

    fn visit(&mut self, directory: &Path) -> io::Result<()> {
        self.directories.push(directory.to_path_buf());
        let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self.all.push(entry.path());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.visit(&entry.path())?;
            } else if kind.is_file() {
                self.files.push(entry.path());
            }
        }
        Ok(())
    }

    fn entries_below(&self, path: &Path) -> usize {
        self.all.iter().filter(|other| other.starts_with(path)).count()
    }
}
