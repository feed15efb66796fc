internal import Glibc

/// A run with a call that fails, as it is kept with a failure, to be performed again:
///
///     before/           the files as the run found them
///     before-lines      what had been acknowledged by then
///     run               the library that lets calls fail, the fault, and the command, a line each
struct FaultyRun {
    var recorder: String
    var fault: String
    var command: [String]
    var before: FolderImage?
    var acknowledged: [String]

    func keep(in folder: String) throws(LabError) {
        try LabFile.makeFolder(folder + "/before")
        try before?.write(to: folder + "/before")
        try LabFile.write(Array(acknowledged.map { $0 + "\n" }.joined().utf8), to: folder + "/before-lines")
        try LabFile.write(Array(([recorder, fault] + command).map { $0 + "\n" }.joined().utf8), to: folder + "/run")
    }

    /// Performs a kept run again, on a copy in `image`, which is not there: what was acknowledged then, and how the process ended
    /// where that is a finding.
    static func perform(_ folder: String, seed: UInt64, on image: String) throws(LabError) -> (acknowledged: [String], finding: String?) {
        let lines = try LabFile.lines(folder + "/run")
        guard lines.count > 2 else { throw LabError("\(folder)/run names no command") }
        try LabFile.copy(folder + "/before", to: image)
        let command = Array(lines.dropFirst(2))
        let child = try Spawn.start(
            command + [image] + (command.last == "work" ? ["\(seed)"] : []),
            environment: ["LD_PRELOAD": lines[0], "VARVE_CRASHLAB_ROOT": image, "VARVE_CRASHLAB_SITES": "/dev/null", "VARVE_CRASHLAB_FAULT": lines[1]],
            hasInput: false, isQuiet: true)
        defer { close(child.output) }
        var printed: [UInt8] = [], part = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(child.output, &part, part.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
            printed += part[..<count]
        }
        let end = Spawn.wait(child.pid)
        let told = String(decoding: printed, as: UTF8.self).split(separator: "\n").map(String.init)
        return (try LabFile.lines(folder + "/before-lines") + told, end.flatMap { $0.contains("signal") ? "the process \($0)" : nil })
    }
}
