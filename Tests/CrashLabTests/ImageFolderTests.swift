@testable import CrashLab
import TestSupport
import Testing

/// Folders that hold one image after the other, and which bits of an image are flipped.
@Suite struct ImageFolderTests {
    let scratch = TemporaryFolder("crashlab-images", inMemory: true)

    /// An image of files with these bytes, and a folder.
    private func image(_ files: [String: [UInt8]]) throws -> FolderImage {
        let path = "\(scratch.path)/source"
        LabFile.remove(path)
        try LabFile.makeFolder(path)
        try LabFile.makeFolder(path + "/sub")
        for (name, bytes) in files { try LabFile.write(bytes, to: path + "/" + name) }
        return try FolderImage(of: path)
    }

    private func bytes(_ value: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: value, count: count) }

    /// Whatever was done to the folder since, it holds the image, as a fresh one does.
    @Test func whatAProcessLeftIsUndone() throws {
        let folder = ImageFolder("\(scratch.path)/held")
        let first = try image(["a": bytes(1, 9000), "sub/b": bytes(2, 100), "empty": []])
        try folder.hold(first)
        #expect(try FolderImage(of: folder.path).hash == first.hash)
        let path = folder.path
        try LabFile.write(bytes(1, 8999) + [7], to: path + "/a")
        LabFile.remove(path + "/sub/b")
        try LabFile.makeFolder(path + "/sub/b")
        try LabFile.write(bytes(3, 5), to: path + "/sub/b/c")
        try LabFile.write(bytes(3, 5), to: path + "/other")
        LabFile.remove(path + "/empty")
        try folder.hold(first)
        #expect(try FolderImage(of: path).hash == first.hash)
        for changed in [bytes(0, 9000), bytes(1, 4096), bytes(1, 20_000), []] {
            let next = try image(["a": changed])
            try folder.hold(next)
            #expect(try FolderImage(of: path).hash == next.hash)
        }
    }

    @Test func aFileIsReplacedOrLeftOut() throws {
        let folder = ImageFolder("\(scratch.path)/held")
        let image = try image(["a": bytes(1, 5000), "b": bytes(2, 10)])
        try folder.hold(image, replacing: ("a", bytes(9, 6000)))
        #expect(try LabFile.read(folder.path + "/a") == bytes(9, 6000) && LabFile.read(folder.path + "/b") == bytes(2, 10))
        try folder.hold(image, replacing: ("a", nil))
        #expect(try LabFile.names(in: folder.path) == ["b", "sub"])
        try folder.hold(image)
        #expect(try FolderImage(of: folder.path).hash == image.hash)
    }

    /// What a simulated disk holds is made in the same way as in an empty folder.
    @Test func imagesOfADiskAreHeld() throws {
        var disk = SimulatedDisk()
        let folder = ImageFolder("\(scratch.path)/held")
        let events: [Trace.Event] = [
            .makeFolder(path: "sub"), .open(file: 2, path: "sub/file", isNew: true, isFolder: false),
            .write(file: 2, offset: 4000, bytes: bytes(1, 200), isSynchronous: false), .resize(file: 2, size: 50_000),
            .write(file: 2, offset: 20_000, bytes: bytes(2, 9000), isSynchronous: false), .resize(file: 2, size: 21_000),
            .rename(from: "sub/file", to: "file"), .remove(path: "file"),
        ]
        for (number, event) in events.enumerated() {
            try disk.apply(event)
            let fresh = "\(scratch.path)/fresh-\(number)"
            try LabFile.makeFolder(fresh)
            try disk.current.write(to: fresh)
            try folder.hold(disk.current)
            #expect(try FolderImage(of: folder.path).hash == FolderImage(of: fresh).hash, "after \(event)")
        }
    }

    /// Every bit of a line that is not zeros, one of each that is; each once.
    @Test func everyBitInUseIsFlippedOnce() throws {
        var used = bytes(0, 64 * 5 + 10)
        used[64 * 2 + 5] = 1
        used[64 * 5 + 9] = 1
        let image = try image(["a": used, "b": bytes(0, 128), "c": []])
        for seed in 0..<5 as Range<UInt64> {
            let flips = BitFlips(of: image, seed: seed)
            #expect(flips.inUse == 512 + 80 && flips.zeroLines == 4 + 2 && flips.count == flips.inUse + flips.zeroLines)
            var found: Set<[Int]> = []
            for index in 0..<flips.count {
                let (file, bit) = flips[index]
                #expect(bit < image.files[file].bytes!.count * 8)
                #expect(found.insert([file, bit]).inserted)
            }
            let file = try #require(image.files.firstIndex { $0.path == "a" })
            for bit in 1024..<1536 { #expect(found.contains([file, bit])) }
            for bit in 2560..<2640 { #expect(found.contains([file, bit])) }
        }
    }
}
