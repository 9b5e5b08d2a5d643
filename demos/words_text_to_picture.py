"""What "Drawn from Words" says, in English and Korean; a key means the same in both."""

from .words import COMMON

# One word for another, to begin with where a word is to be changed; in whichever language it is.
SWAPS = (
    "red=blue|blue=yellow|yellow=green|green=red|smiling=crying|happy=sad|sunglasses=hat|"
    "heart=star|star=heart|cat=dog|dog=cat|"
    "빨간=파란|파란=노란|노란=초록|초록=빨간|웃는=우는|행복한=슬픈|선글라스=모자|"
    "하트=별|별=하트|고양이=강아지|강아지=고양이"
)
TRAIN = "mmfm train draw --data DATA --recipe emoji-nano --clip clip-nano --out runs/emoji-nano"
OPEN = "mmfm demo text_to_picture --model runs/emoji-nano"

WORDS: dict[str, dict[str, str]] = {
    "en": {
        **COMMON["en"],
        "title": "Drawn from Words",
        "tagline": "Say what you want to see. A small model digs it out of noise, and shows which "
        "word each patch of it looked at.",
        "upload": "Open a picture",
        "drop": "Say it in English or Korean. A PNG or GIF that you took away from here can be "
        "dropped anywhere on this page, and all its settings are back.",
        # what is said
        "mode": "What to draw",
        "mode_one": "One picture",
        "mode_change": "Change a word",
        "mode_between": "Walk between two",
        "mode_one_note": "Noise and words in, a picture out.",
        "mode_change_note": "Two texts, the same noise: what differs is the doing of the word.",
        "mode_between_note": "Seven pictures from the same noise, from one text to another.",
        "text_one": "What shall it draw?",
        "text_change": "What shall it draw?",
        "text_between": "From",
        "other_change": "And with another word",
        "other_between": "To",
        "examples_name": "Try",
        "examples": "red heart|smiling face|cat with sunglasses|purple heart|파란 하트|웃는 얼굴",
        "swaps": SWAPS,
        "go": "Draw",
        "stop": "Stop",
        "waiting": "Waiting for the model…",
        "drawing": "Drawing…",
        "done": "Done.",
        "stopped": "Stopped.",
        "empty": "Say in a word or two what it shall draw.",
        "too_long": "That is a long text; {limit} letters are the most that is taken here",
        # pictures
        "preview": "Pure noise. The picture will come from this.",
        "picture_of": "Picture of “{text}”",
        "view": "Show",
        "view_noisy": "What it sees",
        "view_thought": "What it thinks",
        "noisy_text": "{share} of this is noise",
        "thought_text": "its guess of the clean picture, below {share} of noise",
        "result_text": "no noise is left",
        "at_step": "Step {step} of {steps}",
        "at_end": "The end",
        "replay": "Play again",
        "pause": "Pause",
        # words
        "words": "Which word did it look at?",
        "words_of": "Words of picture {number}",
        "words_wait": "Every word gets a small picture here while it draws: bright where the "
        "model looked at this word.",
        "scope_whole": "over the whole picture",
        "scope_patch": "row {row}, column {column}",
        "says_nothing": "Point at a word: the patches that looked most at it stay bright. Point at "
        "a patch: the bars show its words.",
        "says_word": "{word} gets {share} of all looks at this step.",
        "says_patch": "The patch in {place} looks most at {words}.",
        "keys": "By touch, tap. By keyboard, Tab goes to the picture and the words, arrows walk "
        "over the patches, Enter holds, Esc lets go.",
        "unread": "beyond what the model reads",
        "unread_note": "The text is longer than the model reads; words without a picture went "
        "unread.",
        "spelled": "The model never learned {words} as a word: it reads letter by letter, or "
        "less, and may not know what is meant.",
        # the walk
        "way": "From one text to the other",
        "way_note": "At every step the model is asked about both texts, and believed by shares.",
        "way_at": "{share} of the way",
        # taking away
        "keep": "Take it with you:",
        "keep_png": "Save as PNG",
        "keep_gif": "Save as GIF",
        "keep_note": "All settings are inside. Drop it here again, and everything is back.",
        "sum_hand": "drawn as {hand}",
        "sum_steps": "{sampler}, {steps} steps",
        "sum_one_step": "{sampler}, 1 step",
        "sum_guidance": "guidance {guidance}",
        "sum_seed": "noise no. {seed}",
        "shelf": "Drawn before",
        "shelf_note": "Press one to see it again, step by step.",
        # settings
        "settings": "How it draws",
        "settings_note": "Change something, and it draws again from the same noise.",
        "hand": "Hand",
        "hand_none": "Any",
        "hand_noto": "Noto",
        "hand_blob": "Blob",
        "hand_fluent_3d": "Fluent 3D",
        "hand_fluent_flat": "Fluent flat",
        "hand_twemoji": "Twemoji",
        "hand_note": "Who drew the pictures it learned from.",
        "seed": "Noise number",
        "dice": "Other noise",
        "seed_note": "The same number is the same noise, to the last grain.",
        "guidance": "Guidance",
        "guidance_name": "Guidance: {guidance}",
        "guidance_note": "At 1 it listens as it has learned to. Above, it overdoes the words.",
        "steps": "Steps",
        "steps_name": "Steps: {steps}",
        "steps_note": "Few steps are long leaps. Try 3.",
        # nobody is here who reads
        "missing_title": "No model that reads words is here yet",
        "missing_text": "To draw from words, this page takes a denoiser that has learned to read, "
        "such as emoji-nano, with the CLIP whose words it knows. This copy of mmfm has none, so "
        "nothing can be drawn here yet. A newer mmfm may bring one along; and you can make one "
        "yourself:",
        "missing_train": "Train one. On a laptop that takes some hours, on a GPU minutes; it can "
        "be interrupted and resumed.",
        "train_command": TRAIN,
        "missing_open": "Open this page with it.",
        "open_command": OPEN,
        "trouble_title": "{model} cannot draw here yet",
        "trouble_text": "It is here, but something that it needs is not. What mmfm says of it:",
        "trouble_clip": "It reads by the text tower of the CLIP that it learned with. Put that "
        "CLIP back where it was, by the name it had then (clip-nano, as a rule), and load this "
        "page again.",
        "trouble_other": "Or choose another model above, if there is one.",
        "unfit_text": "It is here, but this page cannot run it. What mmfm says of it:",
        "unfit_other": "Choose another model above, if there is one.",
        "missing_meanwhile": "Meanwhile, digits are drawn without words on the page",
        "missing_link": "Out of the Noise",
        "copy": "Copy",
        "copied": "Copied",
        # what can go wrong
        "restored": "Everything is as it was when this was saved.",
        "restored_other": "The settings are back; the model {model} is not here, so another one "
        "draws.",
        "unsigned": "There are no settings of mmfm in this picture, so there is nothing to restore",
        "other_kind": "This picture was made by another part of mmfm; its settings do not fit here",
        "later": "A later version of mmfm wrote the settings in this picture; update mmfm to read "
        "them",
        "damaged": "The settings in this picture are damaged; nothing was changed",
        "out_of_range": "{name} lies between {low} and {high}, not at {value}",
        "not_whole": "{name} is a whole number, not {value}",
        "no_hand": "The model knows no hand {hand}; it knows {hands}",
        "no_mode": "There is no way to draw called {name}; there are {known}",
        "no_text": "A text is a line of letters",
        "no_model": "There is no model {name} on this page",
        "forgotten": "The server has forgotten this one. Draw it once more, then save it.",
        "lessons": "What am I looking at?",
        "lesson_read": "Words become tokens",
        "lesson_read_text": "A text tower, the reading half of a CLIP, turns the text into a row "
        "of tokens: for each word, or piece of one, a list of numbers. From pictures with "
        "captions it has learned what words look like. The model that draws cannot read letters; "
        "these tokens are all it gets.",
        "lesson_look": "Patches look at words",
        "lesson_look_text": "Inside the model every patch of the picture asks all words a "
        "question and takes a share from each; the shares of a patch add up to 100% "
        "(cross-attention; Rombach et al. 2022). You see the mean over heads and sizes. The tower "
        "reads from left to right: a word knows those before it. Only the mark of the end has "
        "read all, and no patch looks at it: it tells every part of the model at once.",
        "lesson_guide": "Guidance",
        "lesson_guide_text": "At every step the model is asked twice, with the words and without, "
        "and goes beyond the difference (Ho & Salimans 2022). A little of it makes pictures true "
        "to the text; a lot makes them loud, and all alike.",
        "lesson_change": "One word, the same noise",
        "lesson_change_text": "Words say what it is to be; the noise decides the rest: where, how "
        "large, which way it looks. Keep the noise, change one word, and whatever is different "
        "comes from that word. Compare the steps: early ones settle where it stands, later ones "
        "how it looks.",
        "lesson_walk": "Between two texts",
        "lesson_walk_text": "Two texts of different length have no middle. So at every step the "
        "model is asked about both, and believed by shares, so much of the one answer and the "
        "rest of the other (as Liu et al. 2022 compose them). Halfway lies often neither, or both "
        "on top of each other.",
        "lesson_caution": "Not an explanation",
        "lesson_caution_text": "A patch takes from the words it looks at, but that is not all "
        "that words do: the text as a whole steers every block, too. So a word can matter that "
        "hardly a patch looked at, and of a single word the map says nothing. Test it: change "
        "the word, keep the noise.",
    },
    "ko": {
        **COMMON["ko"],
        "title": "말로 그린 그림",
        "tagline": "보고 싶은 것을 말해 보세요. 작은 모델이 노이즈에서 그림을 꺼내고, 패치마다 "
        "어느 낱말을 봤는지 보여 드려요.",
        "upload": "그림 열기",
        "drop": "한국어로도 영어로도 말할 수 있어요. 여기서 저장한 PNG나 GIF를 이 페이지 아무 "
        "곳에나 놓으면 그때의 설정이 모두 돌아와요.",
        "mode": "무엇을 그릴까요",
        "mode_one": "한 장",
        "mode_change": "낱말 바꾸기",
        "mode_between": "둘 사이 걷기",
        "mode_one_note": "노이즈와 말을 넣으면 그림이 나와요.",
        "mode_change_note": "말은 둘, 노이즈는 하나. 달라진 것은 모두 그 낱말 때문이에요.",
        "mode_between_note": "같은 노이즈에서, 한 말에서 다른 말로 가는 그림 일곱 장이에요.",
        "text_one": "무엇을 그릴까요?",
        "text_change": "무엇을 그릴까요?",
        "text_between": "여기에서",
        "other_change": "낱말 하나를 바꾸면",
        "other_between": "여기까지",
        "examples_name": "예시",
        "examples": "빨간 하트|웃는 얼굴|선글라스 낀 고양이|보라색 하트|red heart|smiling face",
        "swaps": SWAPS,
        "go": "그리기",
        "stop": "멈추기",
        "waiting": "모델을 기다리고 있어요…",
        "drawing": "그리고 있어요…",
        "done": "다 그렸어요.",
        "stopped": "멈췄어요.",
        "empty": "무엇을 그릴지 한두 마디로 말해 주세요.",
        "too_long": "말이 너무 길어요. {limit}자까지 쓸 수 있어요",
        "preview": "순수한 노이즈예요. 그림은 여기에서 나와요.",
        "picture_of": "그림: {text}",
        "view": "보기",
        "view_noisy": "모델이 보는 것",
        "view_thought": "모델의 생각",
        "noisy_text": "여기서 {share}는 노이즈예요",
        "thought_text": "노이즈 {share} 밑에 있다고 짐작한 그림이에요",
        "result_text": "노이즈가 다 사라졌어요",
        "at_step": "{steps}걸음 가운데 {step}번째",
        "at_end": "끝",
        "replay": "다시 보기",
        "pause": "잠깐 멈춤",
        "words": "어느 낱말을 봤을까요?",
        "words_of": "{number}번째 그림의 낱말",
        "words_wait": "그리는 동안 낱말마다 작은 그림이 여기에 생겨요. 그 낱말을 본 곳이 밝아요.",
        "scope_whole": "그림 전체",
        "scope_patch": "{row}행 {column}열",
        "says_nothing": "낱말을 가리키면 그 낱말을 많이 본 패치가 밝게 남고, 패치를 가리키면 "
        "그 패치가 본 낱말이 막대로 보여요.",
        "says_word": "{word}: 이 걸음에서 모든 눈길의 {share}를 받았어요.",
        "says_patch": "{place} 패치가 가장 많이 본 것: {words}",
        "keys": "손가락으로는 두드려 보세요. 키보드로는 탭 키로 그림과 낱말 사이를 오가고, "
        "화살표로 패치를 옮겨 다니고, 엔터 키로 붙잡고, Esc 키로 놓아요.",
        "unread": "모델이 읽는 범위 밖이에요",
        "unread_note": "모델이 읽을 수 있는 것보다 글이 길어요. 그림이 없는 낱말은 읽지 못했어요.",
        "spelled": "모델이 낱말로 배우지 않은 말이에요: {words}. 글자나 그 조각으로 읽어서 뜻을 "
        "모를 수 있어요.",
        "way": "한 말에서 다른 말로",
        "way_note": "걸음마다 두 말을 모두 묻고, 그 답을 나누어 믿어요.",
        "way_at": "{share} 지점",
        "keep": "가져가기",
        "keep_png": "PNG로 저장",
        "keep_gif": "GIF로 저장",
        "keep_note": "설정이 모두 들어 있어요. 여기에 다시 놓으면 그대로 돌아와요.",
        "sum_hand": "그림체 {hand}",
        "sum_steps": "{sampler} {steps}걸음",
        "sum_one_step": "{sampler} 1걸음",
        "sum_guidance": "가이던스 {guidance}",
        "sum_seed": "노이즈 번호 {seed}",
        "shelf": "앞서 그린 것들",
        "shelf_note": "누르면 그 걸음들을 다시 볼 수 있어요.",
        "settings": "그리는 방법",
        "settings_note": "무엇이든 바꾸면 같은 노이즈에서 다시 그려요.",
        "hand": "그림체",
        "hand_none": "아무거나",
        "hand_noto": "노토",
        "hand_blob": "블롭",
        "hand_fluent_3d": "플루언트 3D",
        "hand_fluent_flat": "플루언트 평면",
        "hand_twemoji": "트위모지",
        "hand_note": "모델이 보고 배운 그림을 그린 손이에요.",
        "seed": "노이즈 번호",
        "dice": "다른 노이즈",
        "seed_note": "번호가 같으면 알갱이 하나까지 같은 노이즈예요.",
        "guidance": "가이던스",
        "guidance_name": "가이던스 {guidance}",
        "guidance_note": "1이면 배운 만큼만 따라요. 더 크면 말을 지나치게 따라요.",
        "steps": "걸음 수",
        "steps_name": "걸음 수 {steps}",
        "steps_note": "걸음이 적으면 멀리 뛰어요. 3으로 해 보세요.",
        "missing_title": "말을 읽는 모델이 아직 여기에 없어요",
        "missing_text": "말로 그리려면 읽기를 배운 그림 모델(예: emoji-nano)과 그 모델이 아는 "
        "말을 읽는 CLIP이 있어야 해요. 지금 쓰는 mmfm에는 그런 모델이 없어서 아직 그릴 수 없어요. "
        "새 버전의 mmfm에 들어 있을 수도 있고, 직접 만들 수도 있어요.",
        "missing_train": "모델을 하나 학습시켜요. 노트북으로는 몇 시간, GPU로는 몇 분 걸려요. "
        "도중에 멈춰도 이어 갈 수 있어요.",
        "train_command": TRAIN,
        "missing_open": "그 모델로 이 페이지를 열어요.",
        "open_command": OPEN,
        "trouble_title": "아직 그릴 수 없는 모델이에요: {model}",
        "trouble_text": "모델은 있지만 필요한 것이 빠져 있어요. mmfm이 알려 준 이유예요:",
        "trouble_clip": "이 모델은 배울 때 함께 쓴 CLIP의 텍스트 타워로 글을 읽어요. 그 CLIP(보통 "
        "clip-nano)을 그때의 이름으로 제자리에 두고 이 페이지를 다시 열어 주세요.",
        "trouble_other": "다른 모델이 있으면 위에서 골라도 좋아요.",
        "unfit_text": "모델은 있지만 이 페이지에서는 쓸 수 없어요. mmfm이 알려 준 이유예요:",
        "unfit_other": "다른 모델이 있으면 위에서 골라 주세요.",
        "missing_meanwhile": "그동안 말 없이 숫자를 그리는 페이지를 둘러보세요:",
        "missing_link": "노이즈 속에서",
        "copy": "복사",
        "copied": "복사했어요",
        "restored": "저장할 때의 모습 그대로예요.",
        "restored_other": "설정은 돌아왔어요. 모델 {model}: 여기에 없어서 다른 모델이 그려요.",
        "unsigned": "이 그림에는 mmfm의 설정이 없어서 되돌릴 것이 없어요",
        "other_kind": "mmfm의 다른 기능으로 만든 그림이라 설정이 여기에 맞지 않아요",
        "later": "더 새로운 mmfm이 설정을 적은 그림이에요. mmfm을 업데이트하면 읽을 수 있어요",
        "damaged": "이 그림에 든 설정이 손상됐어요. 아무것도 바꾸지 않았어요",
        "out_of_range": "{name}: {low}부터 {high}까지 쓸 수 있어요. 받은 값은 {value}",
        "not_whole": "{name}: 정수만 쓸 수 있어요. 받은 값은 {value}",
        "no_hand": "모델이 모르는 그림체예요: {hand}. 아는 것은 {hands}",
        "no_mode": "그런 방법은 없어요: {name}. 쓸 수 있는 것은 {known}",
        "no_text": "글은 글자로 된 한 줄이어야 해요",
        "no_model": "이 페이지에 없는 모델이에요: {name}",
        "forgotten": "서버가 이 그림을 잊었어요. 한 번 더 그린 다음 저장해 주세요.",
        "lessons": "지금 무엇을 보고 있나요?",
        "lesson_read": "말은 토큰이 돼요",
        "lesson_read_text": "글을 읽는 쪽은 CLIP의 절반인 텍스트 타워예요. 글을 토큰의 줄로 "
        "바꾸는데, 낱말이나 그 조각마다 숫자 목록 하나가 생겨요. 설명이 붙은 그림을 보며 낱말이 "
        "어떻게 생겼는지 배웠지요. 그리는 모델은 글자를 못 읽어요. 받는 것은 이 토큰뿐이에요.",
        "lesson_look": "패치가 낱말을 봐요",
        "lesson_look_text": "모델 안에서 그림의 패치는 저마다 모든 낱말에게 묻고 조금씩 가져와요. "
        "한 패치의 몫을 더하면 100%예요(크로스 어텐션, Rombach et al. 2022). 여기서 보이는 것은 "
        "모든 헤드와 크기의 평균이에요. 텍스트 타워는 왼쪽부터 읽어서, 낱말은 앞에 나온 낱말만 "
        "알아요. 글을 다 읽은 것은 끝 표시뿐인데, 패치는 이것을 보지 않아요. 모델의 모든 부분에 "
        "한꺼번에 전해지거든요.",
        "lesson_guide": "가이던스",
        "lesson_guide_text": "걸음마다 모델에게 두 번 물어요. 말을 들려주고 한 번, 들려주지 않고 "
        "한 번. 그리고 그 차이보다 더 나아가요(Ho & Salimans 2022). 조금이면 그림이 말에 "
        "충실해지고, 많으면 요란해지고 다 비슷해져요.",
        "lesson_change": "낱말 하나, 같은 노이즈",
        "lesson_change_text": "말은 무엇이 될지 정하고, 나머지는 노이즈가 정해요. 어디에, 얼마나 "
        "크게, 어느 쪽을 볼지 말이에요. 노이즈를 그대로 두고 낱말 하나만 바꾸면, 달라진 것은 모두 "
        "그 낱말에서 온 거예요. 걸음마다 비교해 보세요. 어디에 놓일지는 앞선 걸음에서, 어떻게 "
        "보일지는 뒤따르는 걸음에서 정해져요.",
        "lesson_walk": "두 말 사이",
        "lesson_walk_text": "길이가 다른 두 글에는 가운데가 없어요. 그래서 걸음마다 두 글을 모두 "
        "묻고, 한쪽 답을 얼마만큼, 다른 쪽 답을 나머지만큼 믿어요(Liu et al. 2022의 방식이에요). "
        "한가운데에는 어느 쪽도 아닌 것이나 둘이 겹친 것이 자주 있어요.",
        "lesson_caution": "그래도 설명은 아니에요",
        "lesson_caution_text": "패치는 본 낱말에서 무언가를 가져오지만, 말이 하는 일은 그것만이 "
        "아니에요. 글 전체도 모든 층을 움직여요. 그래서 거의 아무도 보지 않은 낱말이 중요할 수도 "
        "있고, 낱말이 하나뿐이면 지도는 아무것도 말해 주지 않아요. 확인하려면 "
        "노이즈를 그대로 두고 그 낱말을 바꿔 보세요.",
    },
}
