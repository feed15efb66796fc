internal import Glibc
internal import Varve

/// Where a command reads and prints: three descriptors, and what is known of them.
///
/// A test gives its own; ``standard()`` is the process's. Descriptors stay the caller's to close. Not thread-safe.
public final class Console {
    /// Whether a person can be asked.
    public let asksPeople: Bool
    /// Whether what is printed goes to a terminal.
    public let printsToTerminal: Bool
    /// This program, for the commands that run parts of themselves in a process of their own; nil where unknown.
    public let executable: String?
    private let input: Int32
    private let output: Int32
    private let errors: Int32

    /// A console on the descriptors given.
    public init(
        input: Int32, output: Int32, errors: Int32, asksPeople: Bool, printsToTerminal: Bool = false,
        executable: String? = nil
    ) {
        self.input = input
        self.output = output
        self.errors = errors
        self.asksPeople = asksPeople
        self.printsToTerminal = printsToTerminal
        self.executable = executable
    }

    /// The process's own.
    public static func standard() -> Console {
        Console(
            input: STDIN_FILENO, output: STDOUT_FILENO, errors: STDERR_FILENO,
            asksPeople: isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1,
            printsToTerminal: isatty(STDOUT_FILENO) == 1, executable: "/proc/self/exe")
    }

    /// The width for which help is wrapped; nil lets the parser find out.
    var columns: Int? { printsToTerminal ? nil : 100 }

    /// Prints a line, or several, to the output.
    func print(_ text: String) throws {
        var text = text
        if !text.hasSuffix("\n") { text += "\n" }
        try text.withUTF8 { bytes in try write(UnsafeRawBufferPointer(bytes)) }
    }

    /// Writes bytes as they are to the output.
    ///
    /// Throws ``CommandFailure/outputClosed`` where nobody reads any more, and a ``StoreError`` for other failures.
    func write(_ bytes: UnsafeRawBufferPointer) throws {
        if let failure = Self.write(bytes, to: output) {
            if failure == EPIPE { throw CommandFailure.outputClosed }
            throw StoreError.system(
                "writing to standard output failed", errno: failure, advice: "Check where the output goes to")
        }
    }

    /// Prints a line, or several, to the errors; a failure to do so has nowhere to go.
    func complain(_ text: String) {
        var text = text
        if !text.hasSuffix("\n") { text += "\n" }
        _ = text.withUTF8 { Self.write(UnsafeRawBufferPointer($0), to: errors) }
    }

    /// The next bytes of the input, at most `limit`; nil at its end.
    func read(limit: Int) throws(StoreError) -> [UInt8]? {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            // Full chunks keep the number of chunks independent of how a pipe delivers them.
            while count < limit {
                let got = Glibc.read(input, buffer.baseAddress! + count, limit - count)
                if got > 0 { count += got } else if got == 0 { break } else if errno != EINTR {
                    failure = errno
                    break
                }
            }
        }
        if failure != 0 {
            throw .system("reading standard input failed", errno: failure, advice: "Nothing was changed")
        }
        return bytes.isEmpty ? nil : bytes
    }

    /// Bytes of the input as soon as there are some; nil at its end.
    func readSome() throws(StoreError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(input, &bytes, bytes.count)
            if count > 0 { return Array(bytes[..<count]) }
            if count == 0 { return nil }
            if errno != EINTR { throw .system("reading standard input failed", errno: errno, advice: "Nothing was changed") }
        }
    }

    /// Asks on the errors, where redirecting the output does not hide it, and takes "y" or "yes" for yes.
    func ask(_ question: String) throws(StoreError) -> Bool {
        var prompt = Printable.text(question) + " [y/N] "
        _ = prompt.withUTF8 { Self.write(UnsafeRawBufferPointer($0), to: errors) }
        var line: [UInt8] = []
        while let byte = try read(limit: 1)?.first, byte != UInt8(ascii: "\n") { line.append(byte) }
        let answer = String(decoding: line, as: UTF8.self).lowercased().filter { !$0.isWhitespace }
        return answer == "y" || answer == "yes"
    }

    /// Writes all of it; the error number where that fails.
    private static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32? {
        var rest = bytes[...]
        while !rest.isEmpty {
            let part = UnsafeRawBufferPointer(rebasing: rest)
            let count = Glibc.write(descriptor, part.baseAddress!, part.count)
            if count >= 0 { rest = rest.dropFirst(count) } else if errno != EINTR { return errno }
        }
        return nil
    }
}
