internal import Glibc
internal import Varve

/// Files that commands write for people.
enum TextFile {
    /// Writes a whole file, in the place of one that is there.
    static func write(_ text: String, to path: String) throws(StoreError) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw .system("the file could not be made", path: path, errno: errno, advice: "Check the folder") }
        var failure: Int32 = 0
        var text = text
        text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)[...]
            while !rest.isEmpty {
                let part = UnsafeRawBufferPointer(rebasing: rest)
                let count = Glibc.write(file, part.baseAddress!, part.count)
                if count >= 0 { rest = rest.dropFirst(count) } else if errno != EINTR {
                    failure = errno
                    return
                }
            }
        }
        if Glibc.close(file) != 0, failure == 0 { failure = errno }
        guard failure == 0 else {
            throw .system("the file could not be written", path: path, errno: failure, advice: "Check the disk's space, and write again")
        }
    }
}
