//! Where policies come from: a file, or every `*.cedar` file of a folder.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Most bytes of all files together. Every call asks every policy.
const MAX_BYTES: u64 = 1_024 * 1_024;

/// Why files were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system does not let us.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Everybody on the machine could write a policy.
    #[error("`{}` can be written by everybody; take that right away", .0.display())]
    Writable(PathBuf),
    /// There is more than anybody reads.
    #[error("the policies at `{}` are larger than {MAX_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
}

/// The text of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it was read.
    pub path: PathBuf,
    /// What stands in it.
    pub text: String,
}

/// Reads the file at `path`, or the files of the folder there in the order of their names. A folder's other files,
/// hidden ones and folders within are left alone. Blocks.
///
/// # Errors
/// The first thing that keeps it from reading all.
pub fn read(path: &Path) -> Result<Vec<Source>, ReadError> {
    let failed = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    let paths = if metadata.is_dir() {
        private(path, &metadata)?;
        let mut paths = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if is_policy_file(&path) {
                paths.push(path);
            }
        }
        paths.sort();
        paths
    } else {
        vec![path.to_owned()]
    };

    let mut left = MAX_BYTES;
    let mut sources = Vec::new();
    for file in paths {
        let text = read_file(&file, left)?;
        left = left.saturating_sub(u64::try_from(text.len()).unwrap_or(u64::MAX));
        if left == 0 {
            return Err(ReadError::TooLarge(path.to_owned()));
        }
        sources.push(Source { path: file, text });
    }
    Ok(sources)
}

fn is_policy_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    // Looks through symbolic links, of which Kubernetes makes mounted files.
    !hidden && path.extension().is_some_and(|e| e == "cedar") && path.is_file()
}

fn private(path: &Path, metadata: &fs::Metadata) -> Result<(), ReadError> {
    // In a sticky folder nobody replaces the files of others, but everybody adds one.
    if metadata.mode() & 0o002 == 0 {
        return Ok(());
    }
    Err(ReadError::Writable(path.to_owned()))
}

fn read_file(path: &Path, most: u64) -> Result<String, ReadError> {
    let failed = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    private(path, &file.metadata().map_err(failed)?)?;
    let mut text = String::new();
    file.take(most).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_its_visible_cedar_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("b.cedar", "2"),
            ("a.cedar", "1"),
            (".c.cedar", "3"),
            ("d.txt", "4"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("e.cedar")).unwrap();

        let texts: Vec<_> = read(folder.path()).unwrap().into_iter().map(|s| s.text).collect();

        assert_eq!(texts, ["1", "2"]);
    }

    #[test]
    fn what_everybody_can_write_is_no_policy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.cedar");
        fs::write(&file, "").unwrap();
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

        open(&file, 0o666);
        assert!(matches!(read(&file), Err(ReadError::Writable(_))));
        assert!(matches!(read(folder.path()), Err(ReadError::Writable(_))));
        open(&file, 0o644);
        open(folder.path(), 0o777);
        assert!(matches!(read(folder.path()), Err(ReadError::Writable(_))));
        open(folder.path(), 0o755);
        assert!(read(folder.path()).is_ok());
    }

    #[test]
    fn a_heap_of_policies_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.cedar", "b.cedar"] {
            fs::write(folder.path().join(name), " ".repeat(600 * 1_024)).unwrap();
        }

        assert!(matches!(read(folder.path()), Err(ReadError::TooLarge(_))));
    }
}
