internal import Glibc

/// The names of a program's functions, from its own table (ELF, 64 bits), for people to read.
struct ProgramSymbols {
    private var functions: [(start: UInt64, size: UInt64, name: Int)] = []
    private var names: [UInt8] = []

    /// Of a program without a table: no names.
    init(_ path: String) throws(LabError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(path) }
        defer { close(descriptor) }
        func bytes(_ offset: UInt64, _ count: UInt64) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: Int(count)) { buffer, filled in
                while filled < Int(count) {
                    let done = pread(descriptor, buffer.baseAddress! + filled, Int(count) - filled, off_t(offset) + off_t(filled))
                    if done <= 0 { break }
                    filled += done
                }
            }
        }
        let head = bytes(0, 64)
        guard head.count == 64, head.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2]) else { return }
        let sections = Fields(bytes(head.field(40, 8), UInt64(head.field(58, 2)) * UInt64(head.field(60, 2))), stride: Int(head.field(58, 2)))
        for index in 0..<sections.count where sections[index, 4, 4] == 2 {
            let link = Int(sections[index, 40, 4])
            guard link < sections.count else { continue }
            names = bytes(sections[link, 24, 8], sections[link, 32, 8])
            let symbols = Fields(bytes(sections[index, 24, 8], sections[index, 32, 8]), stride: 24)
            for symbol in 0..<symbols.count where symbols[symbol, 4, 1] & 15 == 2 && symbols[symbol, 8, 8] != 0 {
                functions.append((symbols[symbol, 8, 8], symbols[symbol, 16, 8], Int(symbols[symbol, 0, 4])))
            }
        }
        functions.sort { $0.start < $1.start }
    }

    private struct Fields {
        let bytes: [UInt8]
        let stride: Int
        var count: Int { stride > 0 ? bytes.count / stride : 0 }
        init(_ bytes: [UInt8], stride: Int) {
            self.bytes = bytes
            self.stride = stride
        }
        subscript(index: Int, offset: Int, size: Int) -> UInt64 { bytes.field(index * stride + offset, size) }
    }

    /// The function that holds an address, demangled and without its parameters.
    func name(at address: UInt64) -> String? {
        var low = 0, high = functions.count
        while low < high {
            let middle = (low + high) / 2
            if functions[middle].start <= address { low = middle + 1 } else { high = middle }
        }
        guard low > 0, address - functions[low - 1].start <= max(functions[low - 1].size, 1) else { return nil }
        let start = functions[low - 1].name
        guard start < names.count else { return nil }
        let mangled = String(decoding: names[start...].prefix { $0 != 0 }, as: UTF8.self)
        return Self.shortened(Self.demangled(mangled) ?? mangled)
    }

    private static func demangled(_ name: String) -> String? {
        guard let text = swift_demangle(name, name.utf8.count, nil, nil, 0) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    /// The name and labels without parameters' types: what comes first in parentheses and after an arrow goes.
    private static func shortened(_ name: String) -> String {
        var depth = 0
        var text = ""
        for character in name {
            if character == "(" || character == "<" { depth += 1 }
            if depth == 0 { text.append(character) }
            if character == ")" || character == ">" { depth = max(0, depth - 1) }
            if text.hasSuffix(" -") { break }
        }
        for ending in [" -", " throws", " ->"] where text.hasSuffix(ending) { text.removeLast(ending.count) }
        return String(text.split(separator: " ").filter { $0.contains(".") }.last ?? text[...])
    }
}

extension [UInt8] {
    /// A number of so many bytes, little-endian.
    fileprivate func field(_ offset: Int, _ size: Int) -> UInt64 {
        guard offset + size <= count else { return 0 }
        return (0..<size).reduce(0) { $0 | UInt64(self[offset + $1]) << (8 * UInt64($1)) }
    }
}

@_silgen_name("swift_demangle")
private func swift_demangle(
    _ name: UnsafePointer<CChar>, _ length: Int, _ buffer: UnsafeMutablePointer<CChar>?, _ size: UnsafeMutablePointer<Int>?, _ flags: UInt32
) -> UnsafeMutablePointer<CChar>?
