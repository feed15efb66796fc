internal import CrashLab
internal import Synchronization

/// What a seed's work does, step by step, and what holds before and after each: the same for all images of its runs.
struct CrashlabHistory: Sendable {
    /// Before the first step, and after each.
    private(set) var models = [CrashlabModel()]
    private(set) var steps: [CrashlabModel.Step] = []
    private let seed: UInt64

    private init(seed: UInt64) {
        self.seed = seed
        var random = SplitMix(state: seed)
        var model = CrashlabModel()
        for _ in 0..<CrashlabModel.stepCount {
            let step = model.next(&random)
            model.apply(step)
            steps.append(step)
            models.append(model)
        }
    }

    private static let last = Mutex<CrashlabHistory?>(nil)

    /// Of requests that follow one another most are of the same seed.
    static func of(seed: UInt64) -> CrashlabHistory {
        last.withLock { last in
            if let last, last.seed == seed { return last }
            let history = CrashlabHistory(seed: seed)
            last = history
            return history
        }
    }
}
