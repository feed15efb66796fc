internal import Glibc

/// The files of a folder, as they were at one moment.
package struct FolderImage: Sendable {
    /// By their paths below the folder; nil: a folder.
    private(set) var files: [(path: String, bytes: [UInt8]?)] = []

    package init(of folder: String) throws(LabError) { try add(folder, "") }

    private mutating func add(_ folder: String, _ prefix: String) throws(LabError) {
        for name in try LabFile.names(in: folder) {
            let full = folder + "/" + name, path = prefix + name
            if LabFile.isFolder(full) {
                files.append((path, nil))
                try add(full, path + "/")
            } else if LabFile.isFile(full) {
                files.append((path, try LabFile.read(full)))
            }
        }
    }

    /// The same for images whose files are the same.
    package var hash: UInt64 {
        var hasher = WordHash(UInt64(files.count))
        for (path, bytes) in files {
            hasher.add(WordHash(path).value)
            guard let bytes else { continue }
            hasher.add(UInt64(bytes.count))
            hasher.add(Self.sum(bytes))
        }
        return hasher.value
    }

    private static func sum(_ bytes: [UInt8]) -> UInt64 {
        bytes.withUnsafeBytes { raw in
            var sums: (UInt64, UInt64) = (0xcbf2_9ce4_8422_2325, 0x8422_2325_cbf2_9ce4)
            var offset = 0
            while offset + 16 <= raw.count {
                sums.0 = (sums.0 ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x9e37_79b9_7f4a_7c15
                sums.0 ^= sums.0 >> 29
                sums.1 = (sums.1 ^ raw.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)) &* 0xbf58_476d_1ce4_e5b9
                sums.1 ^= sums.1 >> 31
                offset += 16
            }
            while offset < raw.count {
                sums.0 = (sums.0 ^ UInt64(raw[offset])) &* 0x0000_0100_0000_01b3
                offset += 1
            }
            return SplitMix.mix(sums.0 ^ SplitMix.mix(sums.1))
        }
    }

    /// Makes the files in `folder`, which is there and empty; `replacing`: these bytes (nil: no such file) are in the place of one's.
    func write(to folder: String, replacing other: (path: String, bytes: [UInt8]?)? = nil) throws(LabError) {
        for (path, own) in files {
            var bytes = own
            if let other, other.path == path {
                guard let others = other.bytes else { continue }
                bytes = others
            }
            if let bytes { try LabFile.write(bytes, to: folder + "/" + path) } else { try LabFile.makeFolder(folder + "/" + path) }
        }
    }
}
