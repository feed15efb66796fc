internal import ArgumentParser
internal import CCrashAdapters
internal import CrashLab
internal import Glibc
internal import Varve

/// `varve crashlab adapter`: the stores that the lab comes with, as programs that it can test.
struct CrashlabAdapterCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "adapter", abstract: "Work on a store, recover it or check it, as the lab asks.", shouldDisplay: false)

    @Argument var store: String
    @Argument var verb: String
    @Argument var rest: [String] = []

    /// Working on with what was recovered takes as long as looking at it: one image in so many, and a process' first.
    private static let goesOnEvery = 8

    func execute(_ console: Console) throws -> ExitStatus {
        guard store == "varve" else { return ExitStatus(rawValue: CrashlabAdapters.run(store, [verb] + rest)) }
        switch (verb, rest.count) {
        case ("work", 2):
            guard let seed = UInt64(rest[1]) else { break }
            try CrashlabWork(folder: rest[0], seed: seed, console: console).run()
            return .success
        case ("recover", 1):
            try Self.recover(rest[0], console)
            return .success
        case ("check", 0):
            try answer(console) { request, number in
                try CrashlabCheck(request, goesOn: number % Self.goesOnEvery == 0).run()
                return "ok"
            }
            return .success
        case ("inspect", 0):
            try answer(console) { request, _ in try CrashlabCheck(request, goesOn: false).inspect() }
            return .success
        case ("inspect-small", 0):
            try answer(console) { request, _ in try CrashlabSmallStore(request).inspect() }
            return .success
        case ("serve", 0): return ExitStatus(rawValue: crash_serve(Self.runInChild))
        case ("steps", 1):
            // For people: what a seed stands for.
            guard let seed = UInt64(rest[0]) else { break }
            var random = SplitMix(state: seed)
            var model = CrashlabModel()
            for number in 1...CrashlabModel.stepCount {
                let step = model.next(&random)
                try console.print("\(number) \(step)")
                model.apply(step)
            }
            return .success
        default: break
        }
        throw CommandFailure.usage(message: "an adapter's verb is work FOLDER SEED, recover FOLDER or check", advice: "See docs/CRASHLAB.md")
    }

    /// One run in a process that the server has forked, with the standard descriptors of its own.
    private static let runInChild: crash_work = { verb, folder, seed in
        guard let verb, let folder, let seed, let number = UInt64(String(cString: seed)) else { return ExitStatus.usage.rawValue }
        let console = Console.standard()
        do {
            let folder = String(cString: folder)
            switch String(cString: verb) {
            case "work": try CrashlabWork(folder: folder, seed: number, console: console).run()
            case "small": try CrashlabSmallStore.make(in: folder, console)
            default: try recover(folder, console)
            }
            return ExitStatus.success.rawValue
        } catch { return ErrorReporter(console: console, asJSON: false).report(error) }
    }

    private static func recover(_ folder: String, _ console: Console) throws {
        let path = CrashlabStore.path(in: folder)
        guard access(path, F_OK) == 0 else { return }
        let store = try Store.open(path)
        try console.print("recovered \(try store.version(of: .head))")
        let isMade = try store.taskNames().contains(CrashlabStore.task) && !store.regions(ofTask: CrashlabStore.task).isEmpty
        guard isMade else { return try store.close() }
        try CrashlabWork.goOn(try CrashlabStore(store), console)
    }

    /// Answers requests until there are no more.
    private func answer(_ console: Console, _ body: (CrashlabCheck.Request, Int) throws -> String) throws {
        var requests = LineReader(console)
        var count = 0
        while let line = try requests.next() {
            let words = line.split(separator: " ")
            guard words.count == 3, let seed = UInt64(words[1]), let lines = Int(words[2]) else {
                throw CommandFailure.usage(message: "'\(line)' is no request", advice: "See docs/CRASHLAB.md")
            }
            var acknowledged: [String] = []
            for _ in 0..<lines { if let line = try requests.next() { acknowledged.append(line) } }
            let answer: String
            do { answer = try body(.init(folder: String(words[0]), seed: seed, acknowledged: acknowledged), count) } catch { answer = "\(error)" }
            try console.print(answer.split(whereSeparator: \.isNewline).joined(separator: " "))
            count += 1
        }
    }
}
