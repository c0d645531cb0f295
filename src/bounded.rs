//! Reads files whole, but not without limit: those that an operator writes are small, and one that is not is a mistake.

use std::{
    fs::File,
    io::{self, Read},
};

use zeroize::Zeroizing;

/// Reads `file`, which may have `limit` bytes, into memory that is wiped when it is dropped.
///
/// # Errors
/// What the system says, or `FileTooLarge`.
pub fn read(file: &File, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let length = file.metadata()?.len().min(most);
    // All at once: a buffer that grows leaves copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default()));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        let too_large = format!("it is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, too_large));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_largest_size_is_read_and_one_byte_more_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        let file = || File::open(&path).unwrap();

        assert_eq!(*read(&file(), 5).unwrap(), b"12345");
        let refused = read(&file(), 4).unwrap_err();

        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(refused.to_string(), "it is larger than 4 bytes");
    }
}
