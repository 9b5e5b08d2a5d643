"""What "Why, CLIP?" says, in English and Korean; a key means the same in both."""

from .words import COMMON, KNOWS_THINGS

WORDS: dict[str, dict[str, str]] = {
    "en": {
        **COMMON["en"],
        "title": "Why, CLIP?",
        "tagline": "Name pictures by any words you like, and see what each answer rests on.",
        "upload": "Add pictures",
        "drop": "You can also drop or paste them anywhere on this page.",
        "knows_shapes": "This small model has seen drawn shapes only: eight colours and eight "
        "forms, in English and Korean. Of photographs it knows nothing.",
        "for_photos": "For photographs, start this page with a public model: {photos}. For Korean "
        "labels on photographs: {korean}.",
        "knows_things": f"{KNOWS_THINGS['en']} The cat and the astronaut below it mistakes for "
        "other things: choose one, and press ✓ at the right label.",
        "for_work": "For real work, start this page with a public model: {photos}. For Korean "
        "labels: {korean}.",
        "labels": "Labels",
        "labels_hint": "Labels are parted by commas. What stands before = is shown, what stands "
        "after it is read, with | between synonyms. Enter asks again.",
        "ask": "Ask",
        "template": "Sentences",
        "template_default": "Standard set",
        "template_simple": "Simple set",
        "template_english": "Large English set",
        "template_korean": "Large Korean set",
        "template_nano": "The set of clip-nano",
        "template_own": "My own",
        "own_template": "My own sentence",
        "own_start": "a drawing of {a} {name}",
        "own_hint": "{name} stands for the label, {a} for a or an, {이/가} for a Korean particle.",
        "none": "“None of these” may be the answer",
        "multi": "Several labels may apply",
        "scale": "Scale {scale}",
        "scale_own": "Scale {scale} (the model’s own)",
        "scale_label": "Scale of the cosines",
        "scale_reset": "Back to the model’s own",
        "scale_note": "Cosines are multiplied by it before they become probabilities. A small "
        "scale leaves every label a chance, a large one leaves it to the best only.",
        "pictures": "Pictures",
        "pictures_hint": "Choose one to see why. Arrow keys walk, Delete takes a picture away.",
        "no_pictures": "No pictures are left. Add some, or bring the first ones back.",
        "add": "Add pictures",
        "restore": "Start again",
        "remove": "Take this picture away",
        "was": "was: {label}",
        "tile": "Picture {number}: {answer}",
        "mine": "Your picture {number}",
        "nothing": "none of these",
        "no_label": "no label",
        "picture": "Picture {number} of {count}",
        "answer": "What CLIP says",
        "column_label": "Label",
        "column_score": "Score",
        "column_cosine": "Cosine",
        "column_added": "Taught",
        "column_really": "Right?",
        "really": "This is really: {label}. Keep it as an example",
        "show_label": "Show what speaks for {label}",
        "wrong": "Is the answer wrong? Press ✓ at the right label: the picture becomes an example, "
        "and all answers are weighed anew.",
        "kind_among_labels": "The scores are probabilities among these labels: they add up to "
        "100 %, even when no label fits.",
        "kind_among_labels_none": "The scores are probabilities among these labels and “none of "
        "these”; together they add up to 100 %.",
        "kind_each_label": "Each label has a probability of its own, as this model was trained to "
        "give it.",
        "kind_each_label_uncalibrated": "Each label is held against {count} general texts by "
        "itself. This gives an order, and not yet a probability.",
        "known": "Does any label apply? {share} sure that one does.",
        "known_more": "The labels together say more about this picture than {count} general texts "
        "do. Of those, “{text}” comes nearest, with a cosine of {near}; the best label has "
        "{best}.",
        "known_less": "{count} general texts together say more about this picture than the labels "
        "do. “{text}” comes nearest, with a cosine of {near}; the best label has {best}.",
        "known_taught": "Your examples are counted in.",
        "why": "What speaks for “{label}”",
        "relevance": "What the answer rests on",
        "relevance_note": "attention that raises this label over the others",
        "similarity": "Patches like the label",
        "similarity_note": "each patch’s own cosine, from its lowest to its highest",
        "words": "Its words",
        "words_note": "The stronger the tint, the more the match rests on that word. Press one "
        "to see where in the picture it is found by itself.",
        "word_map": "Where “{word}” is found",
        "word_map_note": "attention that raises this word alone over the other labels",
        "read": "The model reads {count} sentences and takes the mean of their vectors.",
        "read_one": "The model reads this sentence.",
        "and_more": "and {count} more",
        "no_why": "Evidence is shown for the {count} likeliest labels only.",
        "waiting": "Looking for the evidence…",
        "zero_shot_only": "The maps show the model without your examples.",
        "examples": "Your examples",
        "no_examples": "None yet. An example changes answers at once, and nothing is trained: "
        "pictures like it lean towards its label (Tip-Adapter, Zhang et al. 2022).",
        "examples_note": "They speak as loudly as it takes for each of them to be answered right: "
        "up to {weight} is added to or taken from a label’s scaled cosine.",
        "changed": "Answers that the examples changed: {count}",
        "forget": "Remove the example {label}",
        "asleep": "not among the labels now",
        "too_many_pictures": "this page holds {limit} pictures; the others were left out",
        "too_many_labels": "{count} labels, and this page takes {limit} at most",
        "too_long": "a text of {count} letters, and this page takes {limit} at most",
        "too_many_examples": "this page keeps {limit} examples at most; remove one first",
        "no_such_picture": "this picture is not on the page any more",
        "no_such_label": "{label} is none of the labels",
        "no_such_model": "no model {name} on this page",
        "no_name": "your own sentence needs {name} where the label shall stand",
        "cut": "cut off at its end: too long for this model",
        "unread": "Longer than this model reads, and cut off at the end: {labels}.",
        "splinters": "This model does not read Korean: the words break into splinters of letters, "
        "and answers for them mean nothing. Take English labels, or start with --model {model}.",
        "lessons": "What am I looking at?",
        "lesson_space": "One space for both",
        "lesson_space_text": "CLIP has two towers: one turns a picture into a list of numbers, the "
        "other a sentence. Both lists point somewhere in the same space. The cosine says how "
        "nearly they point the same way; the nearest label is the answer.",
        "lesson_labels": "Labels are only words",
        "lesson_labels_text": "No label was trained. Change one, and only its sentences are read "
        "again; the pictures keep their numbers. So wording matters: try a synonym, another "
        "sentence, another language.",
        "lesson_none": "None of these",
        "lesson_none_text": "Probabilities among labels know no way out. With it, the labels have "
        "to say more about a picture than general texts do, such as “a bare wall” or the names of "
        "everyday things.",
        "lesson_heat": "Maps are hints",
        "lesson_heat_text": "Relevance follows attention that would raise the score through all "
        "layers (Chefer et al. 2021). It persuades whether it is right or not. Test it: cut off "
        "the bright part of a picture, and add it here again. And a patch carries what it has "
        "gathered from others, so even bare ground may come to be like the label.",
    },
    "ko": {
        **COMMON["ko"],
        "title": "CLIP, 왜 그렇게 답했나요?",
        "tagline": "원하는 말로 그림에 이름을 붙이고, 그 답이 무엇에서 나왔는지 살펴보세요.",
        "upload": "그림 추가",
        "drop": "이 페이지 아무 곳에나 그림을 끌어다 놓거나 붙여 넣어도 돼요.",
        "knows_shapes": "이 작은 모델은 그려진 도형만 봤어요. 여덟 가지 색과 여덟 가지 모양을 "
        "영어와 한국어로 알아요. 사진은 전혀 몰라요.",
        "for_photos": "사진에 쓰려면 공개 모델로 이 페이지를 시작하세요: {photos}. 사진에 한국어 "
        "라벨을 쓰려면: {korean}.",
        "knows_things": f"{KNOWS_THINGS['ko']} 아래의 고양이와 우주비행사는 다른 것으로 잘못 봐요. "
        "하나를 골라 맞는 라벨의 ✓를 눌러 보세요.",
        "for_work": "실제로 쓰려면 공개 모델로 이 페이지를 시작하세요: {photos}. 한국어 라벨을 "
        "쓰려면: {korean}.",
        "labels": "라벨",
        "labels_hint": "라벨은 쉼표로 나눠요. = 앞은 화면에 보이고 뒤는 모델이 읽어요. 비슷한 "
        "말은 |로 이어 쓰면 돼요. 엔터를 누르면 다시 물어봐요.",
        "ask": "물어보기",
        "template": "문장",
        "template_default": "기본 문장들",
        "template_simple": "간단한 문장들",
        "template_english": "영어 문장 많이",
        "template_korean": "한국어 문장 많이",
        "template_nano": "clip-nano의 문장들",
        "template_own": "직접 쓰기",
        "own_template": "직접 쓴 문장",
        "own_start": "{name}{이/가} 있는 그림",
        "own_hint": "{name} 자리에 라벨이, {이/가} 자리에 알맞은 조사가, {a} 자리에 영어의 a나 "
        "an이 들어가요.",
        "none": "‘해당 없음’도 답으로 허용",
        "multi": "여러 라벨 동시에 허용",
        "scale": "배율 {scale}",
        "scale_own": "배율 {scale} (모델의 값)",
        "scale_label": "코사인에 곱하는 배율",
        "scale_reset": "모델의 값으로",
        "scale_note": "코사인에 이 배율을 곱한 다음 확률로 바꿔요. 배율이 작으면 모든 라벨에 "
        "기회가 있고, 크면 가장 가까운 라벨이 다 가져가요.",
        "pictures": "그림",
        "pictures_hint": "그림을 고르면 이유를 볼 수 있어요. 화살표 키로 옮겨 다니고, Delete "
        "키로 그림을 빼요.",
        "no_pictures": "남은 그림이 없어요. 그림을 추가하거나 처음 그림을 다시 불러오세요.",
        "add": "그림 추가",
        "restore": "처음부터 다시",
        "remove": "이 그림 빼기",
        "was": "전에는 {label}",
        "tile": "{number}번 그림: {answer}",
        "mine": "내 그림 {number}",
        "nothing": "해당 없음",
        "no_label": "라벨 없음",
        "picture": "그림 {count}장 가운데 {number}번째",
        "answer": "CLIP의 답",
        "column_label": "라벨",
        "column_score": "점수",
        "column_cosine": "코사인",
        "column_added": "예시",
        "column_really": "정답?",
        "really": "사실은 {label}이라고 알려 주고 예시로 남기기",
        "show_label": "{label}의 근거 보기",
        "wrong": "답이 틀렸나요? 맞는 라벨의 ✓를 누르세요. 이 그림이 예시가 되고, 모든 답을 다시 "
        "따져 봐요.",
        "kind_among_labels": "점수는 이 라벨들 사이의 확률이에요. 맞는 라벨이 하나도 없어도 합은 "
        "언제나 100%예요.",
        "kind_among_labels_none": "점수는 이 라벨들과 ‘해당 없음’ 사이의 확률이에요. 모두 더하면 "
        "100%예요.",
        "kind_each_label": "라벨마다 따로 매긴 확률이에요. 이 모델은 그렇게 답하도록 학습했어요.",
        "kind_each_label_uncalibrated": "라벨 하나하나를 일반적인 글 {count}개와 견준 값이에요. "
        "순서는 알 수 있지만 아직 확률은 아니에요.",
        "known": "맞는 라벨이 있을까요? 있을 가능성은 {share}예요.",
        "known_more": "라벨들이 일반적인 글 {count}개보다 이 그림을 더 잘 설명해요. 그 가운데 "
        "가장 가까운 글은 ‘{text}’이고 코사인은 {near}, 가장 가까운 라벨은 {best}예요.",
        "known_less": "일반적인 글 {count}개가 라벨들보다 이 그림을 더 잘 설명해요. 가장 가까운 "
        "글은 ‘{text}’이고 코사인은 {near}, 가장 가까운 라벨은 {best}예요.",
        "known_taught": "여기에는 내가 준 예시도 들어 있어요.",
        "why": "‘{label}’의 근거",
        "relevance": "답이 나온 자리",
        "relevance_note": "이 라벨을 다른 라벨보다 높이는 어텐션",
        "similarity": "라벨과 비슷한 패치",
        "similarity_note": "패치마다 따로 잰 코사인, 가장 낮은 값부터 가장 높은 값까지",
        "words": "라벨의 낱말",
        "words_note": "색이 진한 낱말일수록 그림과 맞는 데 더 크게 이바지했어요. 낱말을 누르면 "
        "그 낱말만으로 그림의 어디에서 찾는지 볼 수 있어요.",
        "word_map": "‘{word}’ 낱말을 찾은 자리",
        "word_map_note": "이 낱말 하나를 다른 라벨보다 높이는 어텐션",
        "read": "모델은 문장 {count}개를 읽고 그 벡터의 평균을 써요.",
        "read_one": "모델이 읽는 문장이에요.",
        "and_more": "그리고 {count}개 더",
        "no_why": "근거는 가장 그럴듯한 라벨 {count}개만 보여 드려요.",
        "waiting": "근거를 찾고 있어요…",
        "zero_shot_only": "여기서는 예시를 쓰지 않은 모델을 보여 드려요.",
        "examples": "내가 준 예시",
        "no_examples": "아직 없어요. 예시를 주면 학습 없이도 답이 바로 달라져요. 예시와 비슷한 "
        "그림은 그 라벨 쪽으로 기울어요(Tip-Adapter, Zhang et al. 2022).",
        "examples_note": "예시가 저마다 맞는 답을 얻을 만큼만 힘을 줘요. 배율을 곱한 코사인에서 "
        "많게는 {weight}까지 더하거나 빼요.",
        "changed": "예시 때문에 달라진 답: {count}개",
        "forget": "{label} 예시 지우기",
        "asleep": "지금은 라벨에 없어요",
        "too_many_pictures": "이 페이지에는 그림을 {limit}장까지 둘 수 있어서 나머지는 뺐어요",
        "too_many_labels": "라벨이 {count}개예요. 이 페이지에서는 {limit}개까지 쓸 수 있어요",
        "too_long": "글이 {count}자예요. 이 페이지에서는 {limit}자까지 쓸 수 있어요",
        "too_many_examples": "예시는 {limit}개까지 둘 수 있어요. 하나를 먼저 지워 주세요",
        "no_such_picture": "이 그림은 이제 페이지에 없어요",
        "no_such_label": "{label}: 지금 라벨에 없는 이름이에요",
        "no_such_model": "이 페이지에 없는 모델이에요: {name}",
        "no_name": "직접 쓴 문장에는 라벨이 들어갈 {name} 자리가 있어야 해요",
        "cut": "이 모델에는 너무 길어서 끝이 잘렸어요",
        "unread": "이 모델이 읽을 수 있는 길이를 넘어서 끝이 잘렸어요: {labels}.",
        "splinters": "이 모델은 한국어를 읽지 못해요. 낱말이 글자 조각으로 부서져서 답에 의미가 "
        "없어요. 영어 라벨을 쓰거나 --model {model}로 시작하세요.",
        "lessons": "지금 무엇을 보고 있나요?",
        "lesson_space": "둘이 함께 쓰는 공간",
        "lesson_space_text": "CLIP에는 탑이 둘 있어요. 하나는 그림을, 하나는 문장을 숫자 목록으로 "
        "바꿔요. 두 목록은 같은 공간에서 어딘가를 가리켜요. 코사인은 두 방향이 얼마나 가까운지 "
        "알려 주고, 가장 가까운 라벨이 답이 돼요.",
        "lesson_labels": "라벨은 그저 말이에요",
        "lesson_labels_text": "라벨은 학습한 적이 없어요. 라벨을 바꾸면 그 문장만 다시 읽고, "
        "그림의 숫자는 그대로예요. 그래서 표현이 중요해요. 비슷한 말이나 다른 문장, 다른 언어로도 "
        "물어보세요.",
        "lesson_none": "해당 없음",
        "lesson_none_text": "라벨 사이의 확률만 보면 빠져나갈 길이 없어요. 이 스위치를 켜면 "
        "라벨들이 ‘아무것도 없는 벽’ 같은 일반적인 글이나 흔한 물건 이름보다 그림을 더 잘 설명해야 "
        "해요.",
        "lesson_heat": "지도는 힌트일 뿐이에요",
        "lesson_heat_text": "점수를 높이는 어텐션을 모든 층에 걸쳐 따라간 결과예요(Chefer et al. "
        "2021). 맞든 틀리든 그럴듯해 보여요. 밝은 부분을 잘라 낸 그림을 다시 넣어서 직접 "
        "확인해 보세요. 패치는 다른 패치에서 모은 내용도 담고 있어서, 빈 바탕이 라벨과 "
        "비슷해지기도 해요.",
    },
}
