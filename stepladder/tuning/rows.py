from dataclasses import dataclass
@dataclass(frozen=True)
class TrainingRow:
    prompt_ids: list[int]
    answer_ids: list[int]
    example_id: str = ""
    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)
