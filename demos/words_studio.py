"""What the Diffusion Studio says, in English and Korean; a key means the same in both."""

from .words import COMMON

WORDS: dict[str, dict[str, str]] = {
    "en": {
        **COMMON["en"],
        "title": "Diffusion Studio",
        "tagline": "Train a model that draws, watch it learn, change one thing and compare.",
        "threads": "Training",
        "threads_value": "one at a time, on {count} of {all} threads",
        "runs_lie": "Runs on disk",
        "upload": "Open settings from a picture",
        "drop": "A PNG or GIF saved here holds its settings. Drop it anywhere, and they come back.",
        # what to train
        "new_title": "What shall it learn?",
        "source": "Data",
        "source_mnist": "MNIST digits",
        "source_fashion": "Fashion-MNIST",
        "source_digits": "Small digits",
        "source_mnist_note": "60,000 handwritten digits, 28 × 28 pixels.",
        "source_fashion_note": "60,000 pieces of clothing, 28 × 28 pixels.",
        "source_digits_note": "1,797 handwritten digits of 8 × 8 pixels. They come with mmfm.",
        "source_folder_note": "Pictures of yours, brought to 32 × 32 pixels. Photographs take "
        "hours.",
        "not_here": "Not on this machine yet: Start downloads {size} MB, once. Without a "
        "network, put its four .gz files into a folder called {name}, and set MMFM_DATA to the "
        "folder above.",
        "get_mnist": "For larger digits take MNIST, which is not on this machine yet: choosing "
        "it says how to get it.",
        "folder_hint": "Pictures of your own: start mmfm with {option} and a folder; folders "
        "inside it are the classes.",
        "labels": "What to draw",
        "all_labels": "All",
        "minutes": "Training time",
        "minutes_value": "{count} min",
        "more_settings": "Learning rate, network and more",
        "rate": "Learning rate",
        "rate_value": "× {times}",
        "rate_own": "as the recipe says",
        "schedule": "How noise is added",
        "schedule_flow": "in a straight line (flow)",
        "schedule_cosine": "along a circle (cosine)",
        "schedule_linear": "as DDPM does (linear)",
        "objective": "What it is asked for",
        "objective_flow": "the way from picture to noise (flow)",
        "objective_velocity": "the velocity",
        "objective_noise": "the noise",
        "objective_clean": "the clean picture",
        "size": "Network",
        "size_tiny": "tiny",
        "size_small": "small",
        "size_medium": "medium",
        "size_large": "large",
        "seed": "Seed",
        "start": "Start training",
        "no_labels": "Choose at least one thing to draw.",
        "restored": "The settings of that picture are back. Start trains the same again.",
        "restored_change": "It showed two runs: when the first one has drawn something, the change "
        "that made the second one is ready under “Change one thing”.",
        "restored_two": "It showed two runs that differ in more than one thing; these are the "
        "settings of the first one.",
        "restored_noise": "“Draw from other noise” begins with its noise, no. {seed}.",
        "neighbour": "Take those of the other run",
        # before anything is trained
        "empty_title": "Nothing learned yet",
        "empty_text": "Noise is all that a new model draws. Press Start: step by step, digits "
        "appear in it.",
        # runs
        "runs": "Your runs",
        "new": "New training",
        "no_runs": "None yet. A run is kept on this machine: close the page, come back, go on.",
        "run_label": "{name}: {state}",
        "half_there": "half there",
        "half_there_text": "The folder of this run is half there, damaged, or of another version "
        "of mmfm. Update mmfm, or delete it.",
        "gone": "This run is gone.",
        "lost": "The server does not answer. Training goes on without it; trying again…",
        "state_starting": "Getting ready…",
        "state_loading": "Reading the data…",
        "state_training": "Training",
        "state_paused": "Paused",
        "state_stopped": "Stopped",
        "state_interrupted": "Interrupted",
        "state_failed": "Failed",
        "state_finished": "Finished",
        "state_elsewhere": "Busy elsewhere",
        "asked_pause": "Pausing…",
        "asked_stop": "Stopping…",
        "asked_train": "Going on…",
        "loading_count": "{done} of {total}",
        "note_interrupted": "Its process was ended from outside. At most the last 20 seconds are "
        "lost: it goes on from its last checkpoint.",
        "note_elsewhere": "Another process is training this run, from a terminal perhaps. It can "
        "be gone on with here when that has ended.",
        "note_paused": "It rests in memory, and is on disk, too. Single steps are quick now.",
        "note_stopped": "All of it is on disk. Going on takes some seconds.",
        "pause": "Pause",
        "go_on": "Go on",
        "step": "{count} steps",
        "stop": "Stop",
        "lengthen": "{count} more minutes",
        "remove": "Delete",
        "remove_sure": "Delete {name} and all that it has learned?",
        "remove_yes": "Delete it",
        "cancel": "Cancel",
        "progress": "Progress of the training",
        "step_now": "step {step}",
        "of_minutes": "{time} of {total}",
        "left": "{time} left",
        "pictures_a_second": "{speed} pictures/s",
        "left_out": "{count} unreadable pictures left out",
        "time_minutes": "{minutes} min {seconds} s",
        "time_seconds": "{seconds} s",
        # what it draws
        "drawn": "What it draws",
        "drawn_note": "Always from the same noise.",
        "drawn_label": "Pictures drawn after step {step}",
        "waiting": "Its first pictures come in a moment.",
        "after": "after {time}, step {step}",
        "travel": "Travel through the training",
        "play": "Play",
        "halt": "Halt",
        "newest": "To the newest",
        "read": "{right} of {count} readable",
        "milestone": "First readable digits after {time}",
        "redraw": "Draw from other noise",
        "same_noise": "Back to the same noise",
        "redrawn": "from other noise (no. {seed}), by the model after step {step}",
        "save_png": "Save PNG",
        "save_gif": "Save GIF",
        # curves
        "loss": "Loss",
        "loss_note": "How wrong its answers are, on average.",
        "loss_apart": "These two losses answer different questions and cannot be compared. "
        "Compare the pictures.",
        "readable": "Readable",
        "readable_mnist": "How many a judge can read: a classifier that names 99.6 % of real "
        "digits right.",
        "readable_digits": "How many a judge can read: it looks for the most similar real digit.",
        "speed": "Speed",
        "speed_note": "Pictures learned from in a second.",
        "speed_honest": "One after the other, never at once: so the two speeds can be compared, "
        "unless something else was computing.",
        "axis": "Compare",
        "axis_time": "at equal time",
        "axis_steps": "at equal steps",
        "unit_time": "seconds",
        "unit_steps": "steps",
        "no_curve": "The curve begins with the first step.",
        # changing one thing
        "change": "Change one thing",
        "change_text": "The same noise, and all else as it was. The two are then shown side by "
        "side.",
        "change_what": "What",
        "change_to": "instead of {old}",
        "change_value": "New value",
        "guess": "What will it do? Guess first.",
        "guess_better": "readable sooner",
        "guess_same": "about the same",
        "guess_worse": "readable later",
        "guess_broken": "it falls apart",
        "guess_open": "no idea, surprise me",
        "begin_change": "Train it and compare",
        "first_guess": "Guess first: it begins when you have.",
        "as_before": "as it was",
        "compare": "Beside it",
        "compare_none": "nothing",
        "your_guess": "Your guess: {guess}.",
        "verdict_wait": "The answer comes as the two have trained equally long.",
        "verdict_right": "And so it came: {before} readable before, {after} with the change, "
        "after {time}.",
        "verdict_wrong": "It came otherwise ({outcome}): {before} readable before, {after} with "
        "the change, after {time}.",
        "verdict_open": "What came ({outcome}): {before} readable before, {after} with the "
        "change, after {time}.",
        "verdict_fell": "It fell apart: the loss is no number any more.",
        "verdict_eyes": "No judge can read such pictures: look at both, and decide.",
        # one at a time
        "busy": "{run} is training. There is one training at a time, so that speeds stay honest. "
        "Pause it and begin this one?",
        "busy_yes": "Pause it",
        "busy_no": "Let it train",
        # what goes wrong
        "error_nan": "The loss is no number any more: the steps were too large. A lower learning "
        "rate helps.",
        "error_Offline": "These data are not on this machine, and they cannot be downloaded: "
        "there is no network. Take the small digits, which are always here.",
        "error_NotHere": "Its data are not where they were: their folder was moved, renamed or "
        "deleted. Put it back, and go on.",
        "error_BadData": "Its data cannot be used: they are too few, damaged, or no pictures at "
        "all. Mend them, and go on.",
        "error_BadRun": "Its data are not what they were when it began, or its own files are "
        "damaged. Put the data back, or start a new run.",
        "error_OutOfSpace": "The disk is full. Delete some runs or other files; what was learned "
        "is kept up to the last checkpoint.",
        "error_InUse": "Another process is training, so this one rests. Go on when that has ended.",
        "error_other": "It ended with an error. Which one it was stands in its folder, in "
        "state.json or process.log; what was learned is kept up to the last checkpoint.",
        "in_use": "Another process is at work there. Wait a moment, and try again.",
        "not_there": "That is not there any more. Take another run, or another step.",
        "too_many": "{count} runs are kept here, and no more. Delete some that are not needed.",
        "no_source": "The data of these settings are not here: {name}. Pictures of your own come "
        "with --allow and their folder, when mmfm is started.",
        "same_name": "Several folders here are called {name}, so it cannot be told which one is "
        "meant. Choose it under “Data”.",
        "not_ours": "There are no settings of mmfm in this picture: another program made it, or "
        "took them out.",
        "of_later": "The settings in this picture are of a later mmfm. Update mmfm to open it.",
        "of_elsewhere": "Another page of mmfm made this picture, and it was not trained here. Open "
        "it there.",
        "damaged": "The settings in this picture are damaged, or not possible with these data. "
        "Nothing was changed.",
        "lessons": "What am I looking at?",
        "lesson_noise": "From noise to digit",
        "lesson_noise_text": "The model starts from random dots and asks itself many times: "
        "which way lies a picture? Every column is told which label it shall become. The noise "
        "is the same each time, so that you see the model change, not the dice.",
        "lesson_learns": "How it learns",
        "lesson_learns_text": "In each step it is shown 64 real pictures with some noise on them "
        "and guesses what was added. Where it was wrong, its weights are moved a little. Nobody "
        "shows it how to draw; drawing is what is left when noise is taken away.",
        "lesson_loss": "Loss is not beauty",
        "lesson_loss_text": "The loss falls fast and then hardly moves, while the pictures go on "
        "getting better. And a loss belongs to its question: asked for the noise or for the "
        "picture, the numbers mean different things. So look, or let a judge read.",
        "lesson_rate": "Learning rate",
        "lesson_rate_text": "How far the weights move in a step. Too small, and nothing happens "
        "in your minutes; too large, and each step undoes the last one. In between there is "
        "plenty of room: try three times as much.",
        "lesson_question": "What it is asked for",
        "lesson_question_text": "Noise, clean picture, velocity or the way between: who knows "
        "one knows all of them. But in pure noise “which noise?” says nothing of the picture, "
        "and a small mistake there becomes a large one. The last two ask well everywhere.",
        "lesson_average": "Drawn by an average",
        "lesson_average_text": "What you see is drawn by the mean of the weights over the last "
        "steps, not by the last ones, which jump about. After a change of the rate it follows "
        "with a delay.",
    },
    "ko": {
        **COMMON["ko"],
        "title": "디퓨전 스튜디오",
        "tagline": "그림 그리는 모델을 직접 학습시키고, 배우는 모습을 지켜보고, 하나만 바꿔 "
        "비교해 보세요.",
        "threads": "학습",
        "threads_value": "한 번에 하나씩, 스레드 {all}개 가운데 {count}개로",
        "runs_lie": "디스크에 저장된 학습",
        "upload": "그림에서 설정 열기",
        "drop": "여기서 저장한 PNG나 GIF에는 설정이 들어 있어요. 아무 곳에나 끌어다 놓으면 "
        "설정이 돌아와요.",
        "new_title": "무엇을 배우게 할까요?",
        "source": "데이터",
        "source_mnist": "MNIST 숫자",
        "source_fashion": "Fashion-MNIST",
        "source_digits": "작은 숫자",
        "source_mnist_note": "손으로 쓴 숫자 60,000개, 28 × 28픽셀이에요.",
        "source_fashion_note": "옷과 신발 60,000개, 28 × 28픽셀이에요.",
        "source_digits_note": "손으로 쓴 8 × 8픽셀 숫자 1,797개예요. mmfm에 들어 있어요.",
        "source_folder_note": "내 그림을 32 × 32픽셀로 줄여서 써요. 사진은 몇 시간이 걸려요.",
        "not_here": "아직 이 컴퓨터에 없어요. 시작을 누르면 {size}MB를 한 번 내려받아요. "
        "네트워크가 없다면 .gz 파일 네 개를 {name} 폴더에 넣고, 그 위 폴더를 MMFM_DATA로 정해 "
        "주세요.",
        "get_mnist": "더 큰 숫자는 MNIST에 있는데 아직 이 컴퓨터에는 없어요. MNIST를 고르면 받는 "
        "방법을 알려 드려요.",
        "folder_hint": "내 그림을 쓰려면 mmfm을 {option} 옵션과 폴더로 시작하세요. 그 안의 폴더 "
        "하나하나가 라벨이 돼요.",
        "labels": "그리게 할 것",
        "all_labels": "모두",
        "minutes": "학습 시간",
        "minutes_value": "{count}분",
        "more_settings": "학습률, 신경망 등",
        "rate": "학습률",
        "rate_value": "× {times}",
        "rate_own": "레시피 그대로",
        "schedule": "노이즈를 더하는 방법",
        "schedule_flow": "직선으로 (flow)",
        "schedule_cosine": "원을 따라 (cosine)",
        "schedule_linear": "DDPM처럼 (linear)",
        "objective": "모델에게 묻는 것",
        "objective_flow": "그림에서 노이즈로 가는 길 (flow)",
        "objective_velocity": "속도 (velocity)",
        "objective_noise": "노이즈",
        "objective_clean": "깨끗한 그림",
        "size": "신경망",
        "size_tiny": "아주 작게",
        "size_small": "작게",
        "size_medium": "보통",
        "size_large": "크게",
        "seed": "시드",
        "start": "학습 시작",
        "no_labels": "그리게 할 것을 하나 이상 골라 주세요.",
        "restored": "그림에 들어 있던 설정을 불러왔어요. 시작을 누르면 똑같이 다시 학습해요.",
        "restored_change": "학습 두 개가 나란히 있던 그림이에요. 첫 번째 학습이 그림을 그리기 "
        "시작하면, 두 번째에서 바꾼 것이 ‘하나만 바꿔 보기’에 준비돼요.",
        "restored_two": "설정이 두 가지 이상 다른 두 학습의 그림이에요. 지금 보이는 것은 첫 번째 "
        "설정이에요.",
        "restored_noise": "‘다른 노이즈로 그리기’는 그림의 노이즈 {seed}번부터 시작해요.",
        "neighbour": "다른 쪽 설정 가져오기",
        "empty_title": "아직 배운 것이 없어요",
        "empty_text": "새 모델은 노이즈밖에 못 그려요. 시작을 누르면 그 속에서 숫자가 조금씩 "
        "나타나요.",
        "runs": "내 학습",
        "new": "새 학습",
        "no_runs": "아직 없어요. 학습은 이 컴퓨터에 저장돼요. 페이지를 닫아도 다시 와서 이어 갈 "
        "수 있어요.",
        "run_label": "{name}: {state}",
        "half_there": "불완전해요",
        "half_there_text": "이 학습의 폴더가 불완전하거나 손상됐거나, 다른 버전의 mmfm이 만든 "
        "거예요. mmfm을 업데이트하거나 이 학습을 지워 주세요.",
        "gone": "이 학습은 이제 없어요.",
        "lost": "서버가 응답하지 않아요. 학습은 서버 없이도 계속돼요. 다시 시도하고 있어요…",
        "state_starting": "준비하고 있어요…",
        "state_loading": "데이터를 읽고 있어요…",
        "state_training": "학습 중",
        "state_paused": "일시 정지",
        "state_stopped": "멈춤",
        "state_interrupted": "중단됨",
        "state_failed": "실패",
        "state_finished": "완료",
        "state_elsewhere": "다른 곳에서 학습 중",
        "asked_pause": "일시 정지하는 중…",
        "asked_stop": "멈추는 중…",
        "asked_train": "이어 가는 중…",
        "loading_count": "{total} 가운데 {done}",
        "note_interrupted": "프로세스가 밖에서 강제로 끝났어요. 잃은 것은 길어야 마지막 "
        "20초예요. 마지막 체크포인트부터 이어 갈 수 있어요.",
        "note_elsewhere": "다른 프로세스가 이 학습을 진행하고 있어요. 터미널일 수도 있어요. "
        "그쪽이 끝나면 여기서 이어 갈 수 있어요.",
        "note_paused": "메모리에서 쉬고 있고, 디스크에도 저장돼 있어요. 지금은 한 걸음씩 빠르게 "
        "나아갈 수 있어요.",
        "note_stopped": "모두 디스크에 저장돼 있어요. 이어 가려면 몇 초 걸려요.",
        "pause": "일시 정지",
        "go_on": "이어 가기",
        "step": "{count}걸음만",
        "stop": "멈추기",
        "lengthen": "{count}분 더",
        "remove": "삭제",
        "remove_sure": "{name}의 학습 내용을 모두 지울까요?",
        "remove_yes": "지우기",
        "cancel": "취소",
        "progress": "학습 진행률",
        "step_now": "{step}걸음",
        "of_minutes": "{total} 가운데 {time}",
        "left": "{time} 남음",
        "pictures_a_second": "초당 그림 {speed}장",
        "left_out": "읽을 수 없는 그림 {count}장은 뺐어요",
        "time_minutes": "{minutes}분 {seconds}초",
        "time_seconds": "{seconds}초",
        "drawn": "모델이 그린 그림",
        "drawn_note": "언제나 같은 노이즈에서 시작해요.",
        "drawn_label": "{step}걸음 뒤에 그린 그림",
        "waiting": "첫 그림이 곧 나와요.",
        "after": "{time} 뒤, {step}걸음",
        "travel": "학습 과정 되돌아보기",
        "play": "재생",
        "halt": "정지",
        "newest": "최신으로",
        "read": "{count}개 가운데 {right}개를 읽을 수 있어요",
        "milestone": "읽을 수 있는 숫자가 처음 나온 때: {time}",
        "redraw": "다른 노이즈로 그리기",
        "same_noise": "같은 노이즈로 돌아가기",
        "redrawn": "다른 노이즈({seed}번)에서, {step}걸음 때의 모델이 그렸어요",
        "save_png": "PNG 저장",
        "save_gif": "GIF 저장",
        "loss": "손실",
        "loss_note": "답이 평균적으로 얼마나 틀렸는지 보여요.",
        "loss_apart": "두 손실은 서로 다른 질문의 답이라 비교할 수 없어요. 그림을 비교해 보세요.",
        "readable": "읽을 수 있는 그림",
        "readable_mnist": "판정 모델이 읽을 수 있는 비율이에요. 진짜 숫자를 99.6% 맞히는 "
        "분류기예요.",
        "readable_digits": "판정 모델이 읽을 수 있는 비율이에요. 가장 비슷한 진짜 숫자를 찾아서 "
        "읽어요.",
        "speed": "속도",
        "speed_note": "1초에 배우는 그림 수예요.",
        "speed_honest": "둘은 동시에 돌지 않고 차례로 돌았어요. 그동안 다른 일이 없었다면 속도를 "
        "비교해도 돼요.",
        "axis": "비교 기준",
        "axis_time": "같은 시간",
        "axis_steps": "같은 걸음 수",
        "unit_time": "초",
        "unit_steps": "걸음",
        "no_curve": "첫걸음부터 곡선이 그려져요.",
        "change": "하나만 바꿔 보기",
        "change_text": "노이즈도 나머지 설정도 모두 그대로예요. 그리고 둘을 나란히 보여 드려요.",
        "change_what": "바꿀 것",
        "change_to": "지금 값: {old}",
        "change_value": "새 값",
        "guess": "어떻게 될까요? 먼저 맞혀 보세요.",
        "guess_better": "더 빨리 읽을 수 있게 돼요",
        "guess_same": "거의 같아요",
        "guess_worse": "더 늦게 읽을 수 있게 돼요",
        "guess_broken": "망가져요",
        "guess_open": "모르겠어요, 놀래켜 주세요",
        "begin_change": "학습하고 비교하기",
        "first_guess": "먼저 맞혀 보세요. 그다음에 시작해요.",
        "as_before": "원래대로",
        "compare": "나란히 볼 것",
        "compare_none": "없음",
        "your_guess": "내 예상: {guess}.",
        "verdict_wait": "둘이 같은 시간만큼 학습하면 답이 나와요.",
        "verdict_right": "맞혔어요! {time} 뒤 읽을 수 있는 비율: 바꾸기 전 {before}, 바꾼 뒤 "
        "{after}.",
        "verdict_wrong": "결과는 달랐어요({outcome}). {time} 뒤 읽을 수 있는 비율: 바꾸기 전 "
        "{before}, 바꾼 뒤 {after}.",
        "verdict_open": "결과예요({outcome}). {time} 뒤 읽을 수 있는 비율: 바꾸기 전 {before}, "
        "바꾼 뒤 {after}.",
        "verdict_fell": "망가졌어요. 손실이 더는 숫자가 아니에요.",
        "verdict_eyes": "이런 그림을 읽는 판정 모델은 없어요. 둘을 보고 직접 판단해 보세요.",
        "busy": "{run}: 지금 학습하고 있어요. 속도를 정직하게 재려고 한 번에 하나만 학습해요. 그 "
        "학습을 일시 정지하고 시작할까요?",
        "busy_yes": "일시 정지하기",
        "busy_no": "그대로 두기",
        "error_nan": "손실이 더는 숫자가 아니에요. 한 걸음이 너무 컸어요. 학습률을 낮추면 "
        "나아져요.",
        "error_Offline": "이 데이터는 이 컴퓨터에 없고, 네트워크가 없어서 내려받을 수도 없어요. "
        "언제나 쓸 수 있는 작은 숫자를 골라 보세요.",
        "error_NotHere": "데이터가 있던 자리에 없어요. 폴더를 옮겼거나 이름을 바꿨거나 지운 것 "
        "같아요. 되돌려 놓고 이어 가세요.",
        "error_BadData": "쓸 수 없는 데이터예요. 너무 적거나 손상됐거나 그림이 아니에요. 고친 다음 "
        "이어 가세요.",
        "error_BadRun": "데이터가 시작할 때와 다르거나 이 학습의 파일이 손상됐어요. 데이터를 "
        "되돌려 놓거나 새로 학습해 주세요.",
        "error_OutOfSpace": "디스크가 가득 찼어요. 학습이나 다른 파일을 지워 주세요. 배운 것은 "
        "마지막 체크포인트까지 남아 있어요.",
        "error_InUse": "다른 프로세스가 학습하고 있어서 쉬고 있어요. 그쪽이 끝나면 이어 가세요.",
        "error_other": "오류로 끝났어요. 어떤 오류인지는 학습 폴더의 state.json이나 process.log에 "
        "적혀 있어요. 배운 것은 마지막 체크포인트까지 남아 있어요.",
        "in_use": "다른 프로세스가 쓰고 있어요. 잠시 뒤에 다시 해 보세요.",
        "not_there": "이제 여기에 없어요. 다른 학습이나 다른 걸음을 골라 주세요.",
        "too_many": "학습은 {count}개까지 저장할 수 있어요. 필요 없는 것을 지워 주세요.",
        "no_source": "이 설정의 데이터가 여기에 없어요: {name}. 내 그림을 쓰려면 mmfm을 --allow "
        "옵션과 그 폴더로 시작해 주세요.",
        "same_name": "이름이 같은 폴더가 여러 개라서 어느 것인지 알 수 없어요: {name}. "
        "‘데이터’에서 직접 골라 주세요.",
        "not_ours": "이 그림에는 mmfm의 설정이 없어요. 다른 프로그램이 만들었거나 설정을 지웠어요.",
        "of_later": "이 그림의 설정은 더 새로운 mmfm의 것이에요. mmfm을 업데이트하면 열 수 있어요.",
        "of_elsewhere": "mmfm의 다른 페이지에서 만든 그림이에요. 여기서 학습한 것이 아니니 그 "
        "페이지에서 열어 주세요.",
        "damaged": "이 그림에 든 설정이 손상됐거나 이 데이터로는 쓸 수 없어요. 아무것도 바꾸지 "
        "않았어요.",
        "lessons": "지금 무엇을 보고 있나요?",
        "lesson_noise": "노이즈에서 숫자로",
        "lesson_noise_text": "모델은 무작위 점에서 시작해 여러 번 스스로 물어요. 그림은 어느 "
        "쪽에 있을까? 열마다 무엇이 되어야 하는지 알려 줘요. 노이즈는 매번 같아요. 그래서 "
        "주사위가 아니라 모델이 달라지는 모습을 볼 수 있어요.",
        "lesson_learns": "배우는 방법",
        "lesson_learns_text": "한 걸음마다 노이즈를 섞은 진짜 그림 64장을 보고 무엇이 섞였는지 "
        "맞혀요. 틀린 만큼 가중치를 조금 옮겨요. 그리는 법은 아무도 가르치지 않아요. 노이즈를 "
        "걷어 내고 남는 것이 그림이에요.",
        "lesson_loss": "손실과 아름다움은 달라요",
        "lesson_loss_text": "손실은 금세 떨어진 뒤 거의 움직이지 않지만, 그림은 계속 좋아져요. "
        "손실은 질문마다 뜻이 달라요. 노이즈를 물었을 때와 그림을 물었을 때의 숫자는 비교할 수 "
        "없어요. 그래서 눈으로 보거나 판정 모델에게 읽혀 봐야 해요.",
        "lesson_rate": "학습률",
        "lesson_rate_text": "한 걸음에 가중치를 얼마나 옮길지 정해요. 너무 작으면 정해진 시간 "
        "안에 아무 일도 없고, 너무 크면 걸음마다 앞걸음을 망쳐요. 그 사이는 꽤 넓어요. 세 배로 "
        "올려 보세요.",
        "lesson_question": "무엇을 물을까",
        "lesson_question_text": "노이즈, 깨끗한 그림, 속도, 그 사이의 길. 하나를 알면 모두 알 수 "
        "있어요. 하지만 온통 노이즈일 때 “어떤 노이즈인가?”는 그림에 대해 아무것도 말해 주지 "
        "않아서, 작은 실수가 크게 번져요. 속도와 길은 어디서나 좋은 질문이에요.",
        "lesson_average": "평균이 그린 그림",
        "lesson_average_text": "보이는 그림은 이리저리 흔들리는 마지막 가중치가 아니라, 최근 "
        "걸음들의 평균 가중치가 그린 거예요. 그래서 무언가 바뀌어도 조금 늦게 나타나요.",
    },
}
